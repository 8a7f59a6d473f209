"""Laying copies on what is free of a chip: minorminer in windows, then taking some away and trying again.

It knows nothing of the network or the lattice, so it works for all of them; what is faster or denser for
some is done before, and this fills the holes and the border.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from worker.embedding.copies import minorminer
from worker.embedding.copies.time_limit import TimeLimit
from worker.embedding.model.graphs import Interactions

if TYPE_CHECKING:
    from worker.embedding.copies.minorminer import Chains
    from worker.embedding.copies.occupancy import Occupancy

IntArray = NDArray[np.int64]

# Windows tried around a free qubit, in multiples of a copy's qubits: small ones are fast and leave no holes
# behind, large ones find what small ones do not.
_WINDOWS = (1.1, 1.35, 1.8)
_PATIENCE_S = 5.0  # without a further copy for so long nothing more is expected


@dataclass
class WindowFiller:
    """Lays copies of one graph on a occupancy.

    size: qubits of a good copy, the measure of windows. most: copies wanted at most.
    """

    graph: Interactions
    occupancy: Occupancy
    size: int
    most: int
    time_limit: TimeLimit
    rng: np.random.Generator

    @property
    def done(self) -> bool:
        """Whether there are enough copies, or the time is over."""
        return len(self.occupancy.copies) >= self.most or self.time_limit.expired

    def fill(self, qubits: IntArray | None = None) -> int:
        """Lay copies where the free qubits (or those among ``qubits``) hold any; how many."""
        laid = 0
        for window in _WINDOWS:
            laid += self._sweep(round(window * self.size), qubits)
        return laid

    def improve(self) -> None:
        """Take neighbouring copies away and lay them anew, closer, until time is over or nothing comes of it.

        What is worse than before is undone; what is as good is kept, so holes wander and meet.
        """
        most, gained_s = len(self.occupancy.copies), self.time_limit.spent_s
        while not self.done and self.occupancy.copies and self.time_limit.spent_s - gained_s < _PATIENCE_S:
            self._renew()
            if len(self.occupancy.copies) > most:
                most, gained_s = len(self.occupancy.copies), self.time_limit.spent_s

    def _sweep(self, count: int, qubits: IntArray | None) -> int:
        """Windows of ``count`` free qubits from one side of the chip to the other; copies laid."""
        laid = 0
        free = self.occupancy.free if qubits is None else np.intersect1d(qubits, self.occupancy.free)
        across = self.occupancy.lattice.centres
        for qubit in free[np.lexsort((across[free, 1], across[free, 0].round()))].tolist():
            if self.done:
                break
            if self.occupancy.owner[qubit] == -1 and self._lay(across[qubit], count, qubits):
                laid += 1
        return laid

    def _lay(self, centre: NDArray[np.float64], count: int, qubits: IntArray | None) -> bool:
        free = self.occupancy.free if qubits is None else np.intersect1d(qubits, self.occupancy.free)
        chains = self.find(self.occupancy.nearest(free, centre, count))
        if chains is None:
            return False
        self.occupancy.place(chains)
        return True

    def find(self, window: IntArray) -> Chains | None:
        """One embedding on the qubits of a window."""
        if len(window) < self.graph.units:
            return None
        couplers = minorminer.induced_couplers(self.occupancy.solver, window)
        if len(couplers) < len(self.graph.edges):
            return None
        seed = int(self.rng.integers(1 << 31))
        return minorminer.find_chains(self.graph, couplers, window, seed, self.time_limit.left_s)

    def _renew(self) -> None:
        occupancy = self.occupancy
        free = occupancy.free
        if not len(free):
            return
        centre = occupancy.lattice.centres[self.rng.choice(free)]
        taken = np.flatnonzero(occupancy.owner >= 0)
        near = occupancy.owner[
            occupancy.nearest(taken, centre, round(self.size * self.rng.uniform(0.5, 2.5)))
        ]
        removed = [occupancy.remove(copy) for copy in np.unique(near).tolist()]
        region = occupancy.nearest(occupancy.free, centre, round((len(removed) + 1.5) * self.size))
        laid: list[int] = []
        for window in _WINDOWS:
            self._relay(region, window, laid)
        if len(laid) < len(removed):
            for copy in laid:
                occupancy.remove(copy)
            for chains in removed:
                occupancy.place(chains)

    def _relay(self, region: IntArray, window: float, laid: list[int]) -> None:
        occupancy = self.occupancy
        for _ in range(4):
            free = region[occupancy.owner[region] == -1]
            if len(free) < self.graph.units or self.time_limit.expired:
                return
            centre = occupancy.lattice.centres[self.rng.choice(free)]
            chains = self.find(occupancy.nearest(free, centre, round(window * self.size)))
            if chains is not None:
                laid.append(occupancy.place(chains))
