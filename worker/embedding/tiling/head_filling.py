"""Adds copies of a head on free qubits, and replaces copies to make room for more."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from worker.embedding.copies import minorminer
from worker.embedding.tiling.bit_graph import region_graph
from worker.embedding.tiling.heads import HeadAnnealer, HeadGraph

if TYPE_CHECKING:
    from worker.embedding.copies.minorminer import Chains
    from worker.embedding.copies.task import TilingTask

IntArray = NDArray[np.int64]

# Free qubits searched for one copy, in multiples of its size: fewer hold none, of more too many are used.
_LEAST, _MOST = 1.1, 1.8
_MOVES = 60_000
_START_TEMPERATURE = 0.45
_PLACES = 12
_REPLACEMENTS = 3
_FILLS = 25  # searches in a row that add nothing, before copies are replaced


class HeadFiller:
    """Adds copies of a head by annealing or by minorminer, more often by the one that succeeds more often.

    This is ruin and recreate: a copy is removed, up to three are added in its place, and the change is undone
    if the copies are not more, or as many with no more qubits. So free qubits move and meet.

    Args:
        task: the chip, with copies already placed or empty.
        head: the graph of ``task``, as a head.
        size: qubits of a good copy.
    """

    def __init__(self, task: TilingTask, head: HeadGraph, size: int) -> None:
        self.task, self.head, self.size = task, head, size
        self._added = [1.0, 1.0]  # by annealing, by minorminer
        self._tried = [1.0, 1.0]

    def improve(self) -> None:
        """Add copies where they fit, then replace single ones to add more, until the task is done."""
        task, failures = self.task, 0
        while not task.done and len(task.occupancy.free) >= task.graph.units:
            if failures < _FILLS or not task.occupancy.copies:
                failures = 0 if self._add_copy() else failures + 1
            elif self._replace_copy():
                failures = 0
            task.time_limit.report_step("improve")

    def _densest_region(self) -> IntArray:
        """Return free qubits for one copy: the closest together of those around a few random places."""
        occupancy, rng = self.task.occupancy, self.task.rng
        count = round(self.size * rng.uniform(_LEAST, _MOST))
        free, centres = occupancy.free, occupancy.lattice.centres
        places = centres[rng.choice(free, _PLACES)]
        distance = np.abs(centres[free] - places[:, np.newaxis]).max(axis=2)
        spread = np.sort(distance, axis=1)[:, min(count, len(free)) - 1]
        return occupancy.nearest(free, places[int(spread.argmin())], count)

    def _add_copy(self) -> bool:
        region = self._densest_region()
        if len(region) < self.task.graph.units:
            return False
        rates = [added / tried for added, tried in zip(self._added, self._tried, strict=True)]
        method = int(self.task.rng.random() * sum(rates) > rates[0])
        chains = self._by_minorminer(region) if method else self._by_annealing(region)
        self._tried[method] += 1
        if chains is None:
            return False
        self._added[method] += 1
        self.task.occupancy.place(chains)
        return True

    def _by_annealing(self, region: IntArray) -> Chains | None:
        rng = random.Random(self.task.draw_seed())  # noqa: S311 - no secret
        annealer = HeadAnnealer(self.head, region_graph(self.task.solver, region), rng)
        return annealer.find_chains(_MOVES, lambda: self.task.time_limit.expired, _START_TEMPERATURE)

    def _by_minorminer(self, region: IntArray) -> Chains | None:
        couplers = minorminer.induced_couplers(self.task.solver, region)
        seed, timeout_s = self.task.draw_seed(), min(5.0, self.task.time_limit.left_s)
        return minorminer.find_chains(self.task.graph, couplers, region, seed, timeout_s)

    def _replace_copy(self) -> bool:
        """Replace a random copy, or leave all as it was; return whether there are more copies now."""
        occupancy = self.task.occupancy
        removed = occupancy.remove(int(self.task.rng.choice(list(occupancy.copies))))
        before = set(occupancy.copies)
        for _ in range(_REPLACEMENTS):
            self._add_copy()
            if self.task.time_limit.expired:
                break
        added = occupancy.copies.keys() - before
        qubits = sum(len(chain) for copy in added for chain in occupancy.copies[copy])
        better = len(added) > 1 or (added and qubits <= sum(map(len, removed)))
        if not better:
            for copy in added:
                occupancy.remove(copy)
            occupancy.place(removed)
        return len(added) > 1
