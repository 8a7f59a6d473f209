"""Packs shipped shapes of a small network around defects.

minorminer takes milliseconds for one copy; here thousands of places of known shapes are tested in one
millisecond. `Packer.fill` adds shapes on free qubits, densely, from one side of the chip to the other.
`Packer.improve` is ruin and recreate: it removes one or two neighbouring copies and packs their region again.
If they are as many as before, it prefers that free qubits lie together, until one more copy fits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from worker.embedding.copies.minorminer import qubits_of
from worker.embedding.copies.occupancy import DEAD, FREE
from worker.embedding.tiling.shapes import PlaceFinder, Places

if TYPE_CHECKING:
    from worker.embedding.copies.minorminer import Chains
    from worker.embedding.copies.task import TilingTask
    from worker.embedding.tiling.shapes import Shapes

IntArray = NDArray[np.int64]

_PLACES_FILLED, _PLACES_REPLACED = 4000, 400  # tested for a group; found by trying
_WEIGHED = 24  # smallest places, of which the tightest is taken
_LOOSE = 0.04  # what a coupler to a free qubit costs, in qubits
_TRIES = 6
_REACH = (4, 24)  # number of occupied qubits around a free one, of whose copies some are removed
_COPY = 1000.0  # what a copy is worth, in couplers between free qubits
_TEMPERATURE = 1.0  # by how many of these couplers a replacement may be worse, in the mean
_PATIENCE = 1500  # replacements in a row without a further copy on a whole chip, after which the search ends


class Packer:
    """Packs ``shapes``, embeddings of the graph of ``task`` up to a shift, on its chip."""

    def __init__(self, task: TilingTask, shapes: Shapes) -> None:
        self.task, self.shapes = task, shapes
        self.occupancy, self.rng = task.occupancy, task.rng
        self.finder = PlaceFinder(shapes, self.occupancy.lattice)
        couplers = task.solver.couplers.astype(np.int64)
        self._ends = np.concatenate([couplers, couplers[:, ::-1]])
        self._neighbours = _neighbour_table(self._ends, task.solver.size)
        self._near: list[set[int]] = [set() for _ in range(task.solver.size)]
        for qubit, neighbour in self._ends.tolist():
            self._near[qubit].add(neighbour)

    def fill(self) -> None:
        """Add shapes until none fits on the free qubits, from one side of the chip to the other."""
        order = self.occupancy.left_to_right(self.occupancy.free)
        for group in dict.fromkeys(self.finder.group[order].tolist()):
            self.task.time_limit.report_step("fill")
            while not self.task.done and self._add_copy(np.array([group])):
                pass

    def improve(self) -> None:
        """Replace copies next to free qubits until the task is done, or none is gained for long.

        ``_PATIENCE`` is for a whole chip, and in proportion to its qubits for a smaller one.
        """
        failures = 0
        while self._can_improve() and failures < _PATIENCE * self.task.share_of_chip:
            self.task.time_limit.report_step("improve")
            failures = 0 if self._replace_copies() > 0 else failures + 1

    def _can_improve(self) -> bool:
        return not self.task.done and bool(self.occupancy.copies) and len(self.occupancy.free) > 0

    def _add_copy(self, groups: IntArray) -> bool:
        """Add the tightest of the smallest shapes that contain one of ``groups``; return whether one fits."""
        free = self.occupancy.owner == FREE
        bits = self.finder.allowed_tracks(free)
        if not bits[groups].any():
            return False
        places = self.finder.places_over(groups, bits, _PLACES_FILLED, self.rng)
        sizes = self.shapes.sizes[places.shapes]
        smallest = np.lexsort((self.rng.random(len(places)), sizes))[:_WEIGHED].tolist()
        copies = [
            chains for index in smallest if (chains := self._valid_chains(places, index, bits)) is not None
        ]
        if copies:
            loose = np.bincount(self._ends[free[self._ends[:, 1]], 0], minlength=len(free))
            self.occupancy.place(
                min(copies, key=lambda chains: _LOOSE * loose[qubits_of(chains)].sum() + _size([chains]))
            )
        return bool(copies)

    def _valid_chains(self, places: Places, index: int, bits: IntArray) -> Chains | None:
        """Return the chains of one place, or None if a coupler that they need does not work."""
        chains = self.finder.chains_at(places, index, bits, self.rng)
        near = [set().union(*(self._near[qubit] for qubit in chain)) for chain in chains]
        joined = all(len(chain) == 1 or self._is_connected(chain) for chain in chains)
        valid = joined and all(not near[i].isdisjoint(chains[j]) for i, j in self.task.graph.edges.tolist())
        return chains if valid else None

    def _is_connected(self, chain: list[int]) -> bool:
        part, rest = {chain[0]}, set(chain[1:])
        while fresh := {qubit for qubit in rest if not part.isdisjoint(self._near[qubit])}:
            part |= fresh
            rest -= fresh
        return not rest

    def _replace_copies(self) -> int:
        """Replace one or two copies by as many or more, or leave them; return how many more."""
        occupancy, rng = self.occupancy, self.rng
        centre = occupancy.lattice.centres[int(rng.choice(occupancy.free))]
        near = occupancy.nearest(occupancy.occupied, centre, int(rng.integers(*_REACH)))
        chosen = rng.permutation(np.unique(occupancy.owner[near]))[: int(rng.integers(1, 3))].tolist()
        removed = [occupancy.remove(copy) for copy in chosen]
        bits = self.finder.allowed_tracks(occupancy.owner == FREE)
        groups = np.unique(self.finder.group[[qubit for chains in removed for qubit in qubits_of(chains)]])
        places = self.finder.places_over(groups, bits, _PLACES_REPLACED, rng)
        best, most = removed, self._worth(removed) - rng.exponential(_TEMPERATURE)
        for _ in range(_TRIES):
            packed = self._pack(places, bits)
            if len(packed) >= len(removed) and (worth := self._worth(packed)) >= most:
                best, most = packed, worth
            if len(best) > len(removed):
                break
        for chains in best:
            occupancy.place(chains)
        return len(best) - len(removed)

    def _worth(self, copies: list[Chains]) -> float:
        """Return how good it is to place ``copies`` on free qubits: many, and the others left together.

        The second is counted by couplers between qubits that stay free: the more there are, the sooner one
        more copy fits.
        """
        qubits = np.array([qubit for chains in copies for qubit in qubits_of(chains)])
        neighbours = self._neighbours[qubits]
        lost = self._is_free(neighbours).sum() - np.isin(neighbours, qubits).sum() / 2
        return _COPY * len(copies) - float(lost)

    def _is_free(self, qubits: IntArray) -> NDArray[np.bool_]:
        is_free: NDArray[np.bool_] = np.append(self.occupancy.owner, DEAD)[qubits] == FREE
        return is_free

    def _pack(self, places: Places, bits: IntArray) -> list[Chains]:
        """Return disjoint copies at random ``places``, drawn until none is left that fits."""
        copies: list[Chains] = []
        bits = bits.copy()
        while len(places):
            chains = self._valid_chains(places, int(self.rng.integers(len(places))), bits)
            if chains is None:
                break
            copies.append(chains)
            qubits = np.array(qubits_of(chains))
            taken = 1 << self.occupancy.lattice.cells[qubits, 0] % self.shapes.tracks
            np.subtract.at(bits, self.finder.group[qubits], taken)
            places = places.take(self.finder.fitting(places, bits))
        return copies


def _neighbour_table(ends: IntArray, size: int) -> IntArray:
    """Return (size, most) int64: the neighbours of each qubit by ``ends`` (2M, 2), then ``size``."""
    ends = ends[np.lexsort(ends.T[::-1])]
    counts = np.bincount(ends[:, 0], minlength=size)
    column = np.arange(len(ends)) - np.repeat(np.cumsum(counts) - counts, counts)
    table = np.full((size, int(counts.max())), size, dtype=np.int64)
    table[ends[:, 0], column] = ends[:, 1]
    return table


def _size(copies: list[Chains]) -> int:
    return sum(len(chain) for chains in copies for chain in chains)
