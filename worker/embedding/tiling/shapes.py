"""Small embeddings that can be laid anywhere on a lattice, and all places where they fit on what is free.

Some tracks of a lattice can be exchanged, on each of its lines by itself, and no coupler is lost: the four of
a Zephyr line, and the two oddly coupled lines of a Pegasus pair. So a shape is known up to that, and asked of
a place is only whether its lines have an order of tracks that leads it over allowed qubits.
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
_PROBED = 4  # every so many qubits of a shape are looked at first


@dataclass(frozen=True, eq=False)
class Shapes:
    """S shapes of at most K qubits for a graph of n units, the smallest first.

    tracks: that can be exchanged on a line. cells: (S, K, 3) int64, see `Lattice`; of no meaning past the
    size of a shape. lines: (S, K) int64, the line of each qubit, numbered within the shape. lengths: (S, n)
    int64, qubits of each chain; chain by chain they are the qubits in their order.
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
        """(S, K) bool: which places hold a qubit."""
        filled: BoolArray = np.arange(self.cells.shape[1]) < self.sizes[:, np.newaxis]
        return filled

    def split(self, shape: int, qubits: IntArray) -> Chains:
        """The qubits (size,) of a shape as chains."""
        ends = np.cumsum(self.lengths[shape]).tolist()
        starts = [0, *ends[:-1]]
        flat = qubits.tolist()
        return [sorted(flat[start:end]) for start, end in zip(starts, ends, strict=True)]


def load_shapes(graph: Interactions, solver: SolverGraph) -> Shapes | None:
    """The shapes that are shipped for a graph and a topology, or None."""
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
    """Shapes moved to where they fit: F of them, found by `PlaceFinder`.

    shapes: (F,) int64. groups: (F, K) int64, where each qubit's exchangeable tracks are.
    """

    shapes: IntArray
    groups: IntArray

    def take(self, chosen: IntArray | BoolArray) -> Places:
        """Some of them."""
        return Places(self.shapes[chosen], self.groups[chosen])

    def __len__(self) -> int:
        return len(self.shapes)


class PlaceFinder:
    """Finds all places of shapes on one lattice.

    The exchangeable tracks at one place of a line are a group; what is allowed of it is a few bits.
    """

    def __init__(self, shapes: Shapes, lattice: Lattice) -> None:
        self.known = shapes
        self._number(lattice)
        tracks = shapes.tracks
        self._orders = np.array(list(permutations(range(tracks))))  # of tracks
        self._every = (1 << len(self._orders)) - 1
        # For a track of a shape and the bits that are allowed: the orders (as bits) that lead it over those.
        masks = np.arange(1 << tracks)
        leads = masks[np.newaxis, np.newaxis] >> self._orders.T[:, :, np.newaxis] & 1
        weights = 1 << np.arange(len(self._orders))
        leads = (leads * weights[:, np.newaxis]).sum(axis=1)
        self._leads = np.append(leads, np.full((1, len(masks)), self._every), axis=0)
        self._track = np.where(shapes.filled, shapes.cells[..., 0] % tracks, tracks)

    def _number(self, lattice: Lattice) -> None:
        """Number the groups, with a margin around the chip, so that a moved shape never leaves the table."""
        tracks, cells = self.known.tracks, self.known.cells
        margin = int(np.abs(cells[..., 1:]).max()) + 1
        lowest = lattice.cells[:, 1:].min(axis=0) - margin
        sides = lattice.cells[:, 1:].max(axis=0) + margin - lowest + 1

        def group(of: IntArray) -> IntArray:
            number: IntArray = (of[..., 0] // tracks * sides[0] + of[..., 1]) * sides[1] + of[..., 2]
            return number

        self.group = group(lattice.cells - np.array([0, *lowest]))
        kinds = int(lattice.cells[:, 0].max()) // tracks + 1
        self._cell = int(sides.prod())
        self.qubits = np.full((kinds * self._cell, tracks), len(lattice.cells), dtype=np.int64)
        self.qubits[self.group, lattice.cells[:, 0] % tracks] = np.arange(len(lattice.cells))
        offsets = group(cells)
        self._offsets = np.where(self.known.filled, offsets, offsets[:, :1])
        self._probes = np.ascontiguousarray(self._offsets[:, ::_PROBED])
        self._ways = [self._ways_of(kind) for kind in range(kinds)]

    def _ways_of(self, kind: int) -> IntArray:
        """(P, 2) int64: shapes, and each of their groups that is of a kind."""
        here = self.known.filled & (self.known.cells[..., 0] // self.known.tracks == kind)
        pairs = np.argwhere(here)
        return np.unique(np.stack([pairs[:, 0], self._offsets[tuple(pairs.T)]], axis=1), axis=0)

    def allowed(self, qubits: BoolArray) -> IntArray:
        """The bits of each group of which qubits (size,) may be used."""
        bits: IntArray = np.append(qubits, False)[self.qubits] @ (1 << np.arange(self.known.tracks))
        return bits

    def around(self, groups: IntArray, bits: IntArray, most: int, rng: np.random.Generator) -> Places:
        """Places over at least one of ``groups``, where they fit on what is allowed.

        most: ways that a group is looked at, drawn by chance when there are more.
        """
        ways, moves = [], []
        for group in groups.tolist():
            here = self._ways[group // self._cell]
            if len(here) > most:
                here = here[rng.integers(len(here), size=most)]
            ways.append(here[:, 0])
            moves.append(group - here[:, 1])
        shapes, move = np.concatenate(ways), np.concatenate(moves)[:, np.newaxis]
        near = (bits[self._probes[shapes] + move] != 0).all(axis=1)  # most places fail at once
        shapes, move = shapes[near], move[near]
        places = Places(shapes, self._offsets[shapes] + move)
        return places.take(self.fits(places, bits))

    def fits(self, places: Places, bits: IntArray) -> IntArray:
        """Indices of the places that fit on what is allowed."""
        left = np.arange(len(places))
        leads = self._leads[self._track[places.shapes], bits[places.groups]]
        some = (leads != 0).all(axis=1)
        left, leads = left[some], leads[some]
        lines = self.known.lines[places.shapes[left]]
        holds = np.ones(len(left), dtype=np.bool_)
        for line in range(int(lines.max(initial=-1)) + 1):
            holds &= np.bitwise_and.reduce(np.where(lines == line, leads, self._every), axis=1) != 0
        fitting: IntArray = left[holds]
        return fitting

    def realise(self, places: Places, index: int, bits: IntArray, rng: np.random.Generator) -> Chains:
        """The chains of one place that fits, with an order of tracks on each line drawn by chance."""
        shape, groups = int(places.shapes[index]), places.groups[index]
        size = int(self.known.sizes[shape])
        tracks, lines = self._track[shape, :size], self.known.lines[shape, :size]
        leads = self._leads[tracks, bits[groups[:size]]]
        chosen = np.empty(size, dtype=np.int64)
        for line in np.unique(lines):
            here = lines == line
            orders = int(np.bitwise_and.reduce(leads[here]))
            possible = [order for order in range(len(self._orders)) if orders >> order & 1]
            chosen[here] = self._orders[possible[int(rng.integers(len(possible)))]][tracks[here]]
        return self.known.split(shape, self.qubits[groups[:size], chosen])
