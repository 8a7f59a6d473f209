"""Copies of a head in what is left free of a chip, and in the place of others that stand in the way."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from worker.embedding.copies import minorminer
from worker.embedding.tiling.bit_graph import region_graph
from worker.embedding.tiling.heads import HeadAnnealer, HeadGraph

if TYPE_CHECKING:
    from worker.embedding.copies.minorminer import Chains
    from worker.embedding.copies.occupancy import Occupancy
    from worker.embedding.copies.time_limit import TimeLimit
    from worker.embedding.model.graphs import Interactions

IntArray = NDArray[np.int64]

# Free qubits searched for one copy, in multiples of its size: in fewer none is found, in more too
# many are used.
_LEAST, _MOST = 1.1, 1.8
_MOVES = 60_000
_WARM = 0.45
_PLACES = 12
_RELAYS = 3
_FILLS = 25  # searches in a row that lay nothing, before copies are taken away


@dataclass
class HeadFiller:
    """Lays copies of a head on a occupancy, by annealing or by minorminer, whichever lays more.

    size: qubits of a good copy. most: copies wanted at most.
    """

    graph: Interactions
    head: HeadGraph
    occupancy: Occupancy
    size: int
    most: int
    time_limit: TimeLimit
    rng: np.random.Generator

    def __post_init__(self) -> None:
        self._laid = [1.0, 1.0]  # by annealing, by minorminer; and tried
        self._tried = [1.0, 1.0]

    @property
    def done(self) -> bool:
        """Whether there are enough copies, or the time is over."""
        return len(self.occupancy.copies) >= self.most or self.time_limit.expired

    def improve(self) -> None:
        """Lay copies where they fit; then take single ones away to lay more, until the time is over."""
        failures = 0
        while not self.done and len(self.occupancy.free) >= self.graph.units:
            if failures < _FILLS or not self.occupancy.copies:
                failures = 0 if self._lay() else failures + 1
            elif self._renew():
                failures = 0
            self.time_limit.report_step("improve")

    def _emptiest(self) -> IntArray:
        """Of a few places drawn by chance, the free qubits of the one where as many lie closest together."""
        count = round(self.size * self.rng.uniform(_LEAST, _MOST))
        free, centres = self.occupancy.free, self.occupancy.lattice.centres
        places = centres[self.rng.choice(free, _PLACES)]
        distance = np.abs(centres[free] - places[:, np.newaxis]).max(axis=2)
        spread = np.sort(distance, axis=1)[:, min(count, len(free)) - 1]
        return self.occupancy.nearest(free, places[int(spread.argmin())], count)

    def _lay(self) -> bool:
        region = self._emptiest()
        if len(region) < self.graph.units:
            return False
        rates = [laid / tried for laid, tried in zip(self._laid, self._tried, strict=True)]
        method = int(self.rng.random() * sum(rates) > rates[0])
        chains = self._by_minorminer(region) if method else self._by_annealing(region)
        self._tried[method] += 1
        if chains is None:
            return False
        self._laid[method] += 1
        self.occupancy.place(chains)
        return True

    def _by_annealing(self, region: IntArray) -> Chains | None:
        seed = random.Random(int(self.rng.integers(1 << 31)))  # noqa: S311 - no secret
        annealer = HeadAnnealer(self.head, region_graph(self.occupancy.solver, region), seed)
        return annealer.search(_MOVES, lambda: self.time_limit.expired, warm=_WARM)

    def _by_minorminer(self, region: IntArray) -> Chains | None:
        couplers = minorminer.induced_couplers(self.occupancy.solver, region)
        seed = int(self.rng.integers(1 << 31))
        return minorminer.find_chains(self.graph, couplers, region, seed, min(5.0, self.time_limit.left_s))

    def _renew(self) -> bool:
        """Take a copy away and lay others; undone where they are not more, or smaller. Whether more."""
        occupancy = self.occupancy
        removed = occupancy.remove(int(self.rng.choice(list(occupancy.copies))))
        before = set(occupancy.copies)
        for _ in range(_RELAYS):
            self._lay()
            if self.time_limit.expired:
                break
        laid = occupancy.copies.keys() - before
        better = len(laid) > 1 or (laid and self._qubits(*laid) <= sum(map(len, removed)))
        if not better:
            for copy in laid:
                occupancy.remove(copy)
            occupancy.place(removed)
        return len(laid) > 1

    def _qubits(self, *copies: int) -> int:
        return sum(len(chain) for copy in copies for chain in self.occupancy.copies[copy])
