"""Copies of small networks packed around what does not work: known shapes, wherever they fit.

minorminer has to find each copy anew, in milliseconds; here thousands of places of known shapes are looked
at in one. First shapes are laid on what is free, tightly; then neighbouring copies are taken away and others
laid in their room, one more where that can be done.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from worker.embedding.copies.minorminer import qubits_of
from worker.embedding.copies.occupancy import FREE
from worker.embedding.tiling.shapes import PlaceFinder, Places

if TYPE_CHECKING:
    from worker.embedding.copies.minorminer import Chains
    from worker.embedding.copies.occupancy import Occupancy
    from worker.embedding.copies.time_limit import TimeLimit
    from worker.embedding.model.graphs import Interactions
    from worker.embedding.tiling.shapes import Shapes

IntArray = NDArray[np.int64]

_WAYS_FILLED, _WAYS_RENEWED = 4000, 400  # looked at over a group; found by trying
_WEIGHED = 24  # places of which the tightest is taken
_LOOSE = 0.04  # what a coupler to a free qubit costs, in qubits
_TRIES = 6
_REACH = (4, 24)  # qubits of copies next to a free one, of whose copies some are taken away
_PATIENCE = 1500  # renewals in a row without a further copy, after which nothing more is expected


@dataclass
class Packer:
    """Packs shapes on a occupancy. most: copies wanted at most."""

    graph: Interactions
    shapes: Shapes
    occupancy: Occupancy
    most: int
    time_limit: TimeLimit
    rng: np.random.Generator

    def __post_init__(self) -> None:
        self.finder = PlaceFinder(self.shapes, self.occupancy.lattice)
        couplers = self.occupancy.solver.couplers.astype(np.int64)
        self._ends = np.concatenate([couplers, couplers[:, ::-1]])
        self._near: list[set[int]] = [set() for _ in range(self.occupancy.solver.size)]
        for one, other in self._ends.tolist():
            self._near[one].add(other)

    @property
    def done(self) -> bool:
        """Whether there are enough copies, or the time is over."""
        return len(self.occupancy.copies) >= self.most or self.time_limit.expired

    def fill(self) -> None:
        """Lay shapes on what is free until none fits; from one side of the chip to the other."""
        centres = self.occupancy.lattice.centres
        free = self.occupancy.free
        order = free[np.lexsort((centres[free, 1], centres[free, 0].round()))]
        for group in dict.fromkeys(self.finder.group[order].tolist()):
            self.time_limit.report_step("fill")
            while not self.done and self._lay(np.array([group])):
                pass

    def improve(self) -> None:
        """Renew copies next to what is free, until the time is over or nothing comes of it."""
        failures = 0
        while not self.done and self.occupancy.copies and failures < _PATIENCE and len(self.occupancy.free):
            self.time_limit.report_step("improve")
            failures = 0 if self._renew() > 0 else failures + 1

    def _lay(self, groups: IntArray) -> bool:
        free = self.occupancy.owner == FREE
        bits = self.finder.allowed(free)
        if not bits[groups].any():
            return False
        places = self.finder.around(groups, bits, _WAYS_FILLED, self.rng)
        sizes = self.shapes.sizes[places.shapes]
        smallest = np.lexsort((self.rng.random(len(places)), sizes))[:_WEIGHED].tolist()
        laid = [chains for index in smallest if (chains := self._realise(places, index, bits)) is not None]
        if laid:
            loose = np.bincount(self._ends[free[self._ends[:, 1]], 0], minlength=len(free))
            self.occupancy.place(
                min(laid, key=lambda chains: _LOOSE * loose[qubits_of(chains)].sum() + _size([chains]))
            )
        return bool(laid)

    def _realise(self, places: Places, index: int, bits: IntArray) -> Chains | None:
        """The chains of one place; None where couplers are missing that it needs."""
        chains = self.finder.realise(places, index, bits, self.rng)
        near = [set().union(*(self._near[qubit] for qubit in chain)) for chain in chains]
        joined = all(len(chain) == 1 or self._joined(chain) for chain in chains)
        holds = joined and all(not near[i].isdisjoint(chains[j]) for i, j in self.graph.edges.tolist())
        return chains if holds else None

    def _joined(self, chain: list[int]) -> bool:
        part, rest = {chain[0]}, set(chain[1:])
        while fresh := {qubit for qubit in rest if not part.isdisjoint(self._near[qubit])}:
            part |= fresh
            rest -= fresh
        return not rest

    def _renew(self) -> int:
        """Take one or two copies away and lay as many or more; undone where they are fewer. How many more."""
        occupancy, rng = self.occupancy, self.rng
        centre = occupancy.lattice.centres[int(rng.choice(occupancy.free))]
        near = occupancy.nearest(np.flatnonzero(occupancy.owner >= 0), centre, int(rng.integers(*_REACH)))
        chosen = rng.permutation(np.unique(occupancy.owner[near]))[: int(rng.integers(1, 3))].tolist()
        removed = [occupancy.remove(copy) for copy in chosen]
        bits = self.finder.allowed(occupancy.owner == FREE)
        groups = np.unique(self.finder.group[[qubit for chains in removed for qubit in qubits_of(chains)]])
        places = self.finder.around(groups, bits, _WAYS_RENEWED, rng)
        best: list[Chains] = []
        for _ in range(_TRIES):
            best = max(best, self._pack(places, bits), key=lambda laid: (len(laid), -_size(laid)))
            if len(best) > len(removed):
                break
        if (len(best), -_size(best)) < (len(removed), -_size(removed)):
            best = removed
        for chains in best:
            occupancy.place(chains)
        return len(best) - len(removed)

    def _pack(self, places: Places, bits: IntArray) -> list[Chains]:
        """Disjoint ones of some places, drawn by chance until none is left that fits."""
        laid: list[Chains] = []
        bits = bits.copy()
        while len(places):
            chains = self._realise(places, int(self.rng.integers(len(places))), bits)
            if chains is None:
                break
            laid.append(chains)
            qubits = np.array(qubits_of(chains))
            taken = 1 << self.occupancy.lattice.cells[qubits, 0] % self.shapes.tracks
            np.subtract.at(bits, self.finder.group[qubits], taken)
            places = places.take(self.finder.fits(places, bits))
        return laid


def _size(laid: list[Chains]) -> int:
    return sum(len(chain) for chains in laid for chain in chains)
