"""Shapes, that is small embeddings up to a shift, and all places where they fit on free qubits.

Some tracks of a lattice can be exchanged on each of its lines independently, and no coupler is lost: the four
of a Zephyr line, and the two oddly coupled lines of a Pegasus pair. So a shape is stored up to such
exchanges, and it fits at a place if each of its lines has an order of tracks that leads to free qubits only.

All orders of a line are tested at once. The tracks at one place of a line form a group; which of them are
free is a mask of 4 (Zephyr) or 2 (Pegasus) bits. A table gives, for a track and a mask, the orders that move
the track to a free one, as a mask of 24 (or 2) bits. The bitwise AND over the qubits of a line leaves the
orders that suit all.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files
from itertools import permutations
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from worker.embedding.copies.minorminer import Chains
    from worker.embedding.model.graphs import Interactions, SolverGraph
    from worker.embedding.model.lattice import Lattice

IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

_EXCHANGED = {"zephyr": 4, "pegasus": 2}  # tracks of a line that can be exchanged
_FOLDER = "ideal"
_PROBED = 4  # one in four qubits of a shape is tested first


@dataclass(frozen=True, eq=False)
class Shapes:
    """S shapes of at most K qubits for a graph of n units, the smallest first.

    Attributes:
        tracks: number of tracks that can be exchanged on a line.
        cells: (S, K, 3) int64, kind and cell of each qubit, see `Lattice.cells`; without meaning beyond the
            size of a shape.
        lines: (S, K) int64, the line of each qubit, numbered within the shape.
        lengths: (S, n) int64, qubits of each chain; the qubits follow each other chain by chain.
    """

    tracks: int
    cells: IntArray
    lines: IntArray
    lengths: IntArray

    @cached_property
    def sizes(self) -> IntArray:
        """(S,) int64: qubits of each shape."""
        sizes: IntArray = self.lengths.sum(axis=1)
        return sizes

    @cached_property
    def filled(self) -> BoolArray:
        """(S, K) bool: whether there is a qubit, that is whether the index is below the size of the shape."""
        filled: BoolArray = np.arange(self.cells.shape[1]) < self.sizes[:, np.newaxis]
        return filled

    def split(self, shape: int, qubits: IntArray) -> Chains:
        """Return the ``qubits`` (size,) of the shape with the index ``shape`` as chains."""
        ends = np.cumsum(self.lengths[shape]).tolist()
        starts = [0, *ends[:-1]]
        flat = qubits.tolist()
        return [sorted(flat[start:end]) for start, end in zip(starts, ends, strict=True)]


def load_shapes(graph: Interactions, solver: SolverGraph) -> Shapes | None:
    """Return the shapes that are shipped for ``graph`` and the topology of ``solver``, or None."""
    tracks = _EXCHANGED.get(solver.topology, 0)
    if not tracks or (solver.topology == "zephyr" and solver.shape[1] != tracks):
        return None
    file = files("worker.embedding").joinpath(_FOLDER, f"{graph.digest[:16]}-{solver.topology}.shapes.npz")
    if not file.is_file():
        return None
    with file.open("rb") as stream, np.load(stream, allow_pickle=False) as data:
        parts = [data[name].astype(np.int64) for name in ("cells", "lines", "lengths")]
    return Shapes(tracks, *parts)


@dataclass(frozen=True, eq=False)
class Places:
    """F shapes, each moved to a place where it may fit; made by `PlaceFinder`.

    Attributes:
        shapes: (F,) int64, indices of the shapes.
        groups: (F, K) int64, the group of exchangeable tracks of each qubit.
    """

    shapes: IntArray
    groups: IntArray

    def take(self, chosen: IntArray | BoolArray) -> Places:
        """Return the places with the indices, or the mask, ``chosen``."""
        return Places(self.shapes[chosen], self.groups[chosen])

    def __len__(self) -> int:
        return len(self.shapes)


class PlaceFinder:
    """Finds all places of shapes on one lattice.

    Attributes:
        shapes: what is placed.
        group: (size,) int64, the group of exchangeable tracks of each qubit.
        qubits: (groups, tracks) int64, the qubits of each group; the lattice's size where there is none.
    """

    def __init__(self, shapes: Shapes, lattice: Lattice) -> None:
        self.shapes = shapes
        self._number(lattice)
        tracks = shapes.tracks
        self._orders = np.array(list(permutations(range(tracks))))  # of tracks
        self._every = (1 << len(self._orders)) - 1
        # For each track of a shape and each mask of allowed tracks: the orders, as a mask, that move the
        # track to an allowed one. One row more stands for a place without a qubit, which all orders suit.
        masks = np.arange(1 << tracks)
        suitable = masks[np.newaxis, np.newaxis] >> self._orders.T[:, :, np.newaxis] & 1
        weights = 1 << np.arange(len(self._orders))
        suitable = (suitable * weights[:, np.newaxis]).sum(axis=1)
        self._suitable = np.append(suitable, np.full((1, len(masks)), self._every), axis=0)
        self._track = np.where(shapes.filled, shapes.cells[..., 0] % tracks, tracks)

    def _number(self, lattice: Lattice) -> None:
        """Number the groups of ``lattice`` with a margin, so that no moved shape leaves the table."""
        tracks, cells = self.shapes.tracks, self.shapes.cells
        margin = int(np.abs(cells[..., 1:]).max()) + 1
        lowest = lattice.cells[:, 1:].min(axis=0) - margin
        sides = lattice.cells[:, 1:].max(axis=0) + margin - lowest + 1

        def group(cells: IntArray) -> IntArray:
            kind = cells[..., 0] // tracks
            number: IntArray = (kind * sides[0] + cells[..., 1]) * sides[1] + cells[..., 2]
            return number

        self.group = group(lattice.cells - np.array([0, *lowest]))
        kinds = int(lattice.cells[:, 0].max()) // tracks + 1
        self._cell = int(sides.prod())
        self.qubits = np.full((kinds * self._cell, tracks), len(lattice.cells), dtype=np.int64)
        self.qubits[self.group, lattice.cells[:, 0] % tracks] = np.arange(len(lattice.cells))
        offsets = group(cells)
        self._offsets = np.where(self.shapes.filled, offsets, offsets[:, :1])
        self._probes = np.ascontiguousarray(self._offsets[:, ::_PROBED])
        self._by_kind = [self._group_offsets(kind) for kind in range(kinds)]

    def _group_offsets(self, kind: int) -> IntArray:
        """Return (P, 2) int64: shapes with a group of ``kind``, and the offset of that group."""
        here = self.shapes.filled & (self.shapes.cells[..., 0] // self.shapes.tracks == kind)
        pairs = np.argwhere(here)
        return np.unique(np.stack([pairs[:, 0], self._offsets[tuple(pairs.T)]], axis=1), axis=0)

    def allowed_tracks(self, qubits: BoolArray) -> IntArray:
        """Return the mask of allowed tracks (groups,) int64 of each group, for ``qubits`` (size,) bool."""
        bits: IntArray = np.append(qubits, False)[self.qubits] @ (1 << np.arange(self.shapes.tracks))
        return bits

    def places_over(self, groups: IntArray, bits: IntArray, most: int, rng: np.random.Generator) -> Places:
        """Return the places that fit and contain at least one of ``groups`` (G,).

        Args:
            groups: groups of which places are wanted.
            bits: (groups,) int64, the allowed tracks of each group, see `allowed_tracks`.
            most: number of placements tested for a group; drawn by ``rng`` if there are more.
            rng: source of random choices.
        """
        shape_lists, move_lists = [], []
        for group in groups.tolist():
            here = self._by_kind[group // self._cell]
            if len(here) > most:
                here = here[rng.integers(len(here), size=most)]
            shape_lists.append(here[:, 0])
            move_lists.append(group - here[:, 1])
        shapes, move = np.concatenate(shape_lists), np.concatenate(move_lists)[:, np.newaxis]
        near = (bits[self._probes[shapes] + move] != 0).all(axis=1)  # most places fail here
        shapes, move = shapes[near], move[near]
        places = Places(shapes, self._offsets[shapes] + move)
        return places.take(self.fitting(places, bits))

    def fitting(self, places: Places, bits: IntArray) -> IntArray:
        """Return the indices of those ``places`` that fit on the allowed tracks ``bits`` of the groups."""
        left = np.arange(len(places))
        suitable = self._suitable[self._track[places.shapes], bits[places.groups]]
        some = (suitable != 0).all(axis=1)
        left, suitable = left[some], suitable[some]
        lines = self.shapes.lines[places.shapes[left]]
        holds = np.ones(len(left), dtype=np.bool_)
        for line in range(int(lines.max(initial=-1)) + 1):
            holds &= np.bitwise_and.reduce(np.where(lines == line, suitable, self._every), axis=1) != 0
        fitting: IntArray = left[holds]
        return fitting

    def chains_at(self, places: Places, index: int, bits: IntArray, rng: np.random.Generator) -> Chains:
        """Return the chains of the place ``index`` of ``places``, which must fit on the tracks ``bits``.

        ``rng`` draws an order of tracks for each line, of those that fit.
        """
        shape, groups = int(places.shapes[index]), places.groups[index]
        size = int(self.shapes.sizes[shape])
        tracks, lines = self._track[shape, :size], self.shapes.lines[shape, :size]
        suitable = self._suitable[tracks, bits[groups[:size]]]
        chosen = np.empty(size, dtype=np.int64)
        for line in np.unique(lines):
            here = lines == line
            orders = int(np.bitwise_and.reduce(suitable[here]))
            possible = [order for order in range(len(self._orders)) if orders >> order & 1]
            chosen[here] = self._orders[possible[int(rng.integers(len(possible)))]][tracks[here]]
        return self.shapes.split(shape, self.qubits[groups[:size], chosen])
