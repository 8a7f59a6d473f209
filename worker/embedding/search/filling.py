"""Adds copies on free qubits: minorminer in windows, then ruin and recreate.

It needs to know neither the network nor the lattice, so it works for all of them. What is faster or denser
for some networks comes first; this fills the gaps and the border.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from worker.embedding.copies import minorminer
from worker.embedding.copies.occupancy import FREE

if TYPE_CHECKING:
    from worker.embedding.copies.minorminer import Chains
    from worker.embedding.copies.task import TilingTask

IntArray = NDArray[np.int64]

# Windows tried around a free qubit, in multiples of a copy's qubits: small ones are fast and leave no gaps,
# large ones succeed more often.
_WINDOWS = (1.1, 1.35, 1.8)
_PATIENCE_S = 5.0  # without a further copy on a whole chip, after which the search ends
_TRIES = 4  # searches for one window size in a region that was cleared


class WindowFiller:
    """Adds copies of any graph on free qubits; ``size``: qubits of a good copy, the measure of windows."""

    def __init__(self, task: TilingTask, size: int) -> None:
        self.task, self.size = task, size
        self.occupancy, self.rng = task.occupancy, task.rng

    def fill(self) -> None:
        """Add copies where free qubits hold any; windows move from one side of the chip to the other."""
        occupancy = self.occupancy
        for window in _WINDOWS:
            for qubit in occupancy.left_to_right(occupancy.free).tolist():
                if self.task.done:
                    break
                self.task.time_limit.report_step("fill")
                if occupancy.owner[qubit] == FREE:
                    self._add_copy(occupancy.free, occupancy.lattice.centres[qubit], window)

    def improve(self) -> None:
        """Remove neighbouring copies and embed them again, closer, until the task is done.

        If they are fewer than before, the change is undone; as many are accepted, so free qubits move and
        meet. The search also ends after ``_PATIENCE_S`` without a further copy, sooner on a smaller chip.
        """
        time_limit, copies = self.task.time_limit, self.occupancy.copies
        most, gained_s = len(copies), time_limit.spent_s
        patience_s = _PATIENCE_S * self.task.share_of_chip
        while not self.task.done and copies and time_limit.spent_s - gained_s < patience_s:
            self._replace_copies()
            time_limit.report_step("improve")
            if len(copies) > most:
                most, gained_s = len(copies), time_limit.spent_s

    def _add_copy(self, free: IntArray, centre: NDArray[np.float64], window: float) -> int | None:
        """Place a copy on those of ``free`` nearest to ``centre``, if they hold one; return its number."""
        qubits = self.occupancy.nearest(free, centre, round(window * self.size))
        chains = self._find_chains(qubits)
        return None if chains is None else self.occupancy.place(chains)

    def _find_chains(self, qubits: IntArray) -> Chains | None:
        graph = self.task.graph
        if len(qubits) < graph.units:
            return None
        couplers = minorminer.induced_couplers(self.task.solver, qubits)
        if len(couplers) < len(graph.edges):
            return None
        seed, left_s = self.task.draw_seed(), self.task.time_limit.left_s
        return minorminer.find_chains(graph, couplers, qubits, seed, left_s)

    def _replace_copies(self) -> None:
        occupancy = self.occupancy
        free = occupancy.free
        if not len(free):
            return
        centre = occupancy.lattice.centres[self.rng.choice(free)]
        reach = round(self.size * self.rng.uniform(0.5, 2.5))
        near = occupancy.owner[occupancy.nearest(occupancy.occupied, centre, reach)]
        removed = [occupancy.remove(copy) for copy in np.unique(near).tolist()]
        region = occupancy.nearest(occupancy.free, centre, round((len(removed) + 1.5) * self.size))
        added = [copy for window in _WINDOWS for copy in self._fill_region(region, window)]
        if len(added) < len(removed):
            for copy in added:
                occupancy.remove(copy)
            for chains in removed:
                occupancy.place(chains)

    def _fill_region(self, region: IntArray, window: float) -> list[int]:
        """Add copies in ``region`` around random places; return their numbers."""
        added: list[int] = []
        for _ in range(_TRIES):
            free = region[self.occupancy.owner[region] == FREE]
            if len(free) < self.task.graph.units or self.task.time_limit.expired:
                break
            copy = self._add_copy(free, self.occupancy.lattice.centres[self.rng.choice(free)], window)
            added += [] if copy is None else [copy]
        return added
