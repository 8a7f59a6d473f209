"""What a search for copies works on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from worker.embedding.copies.occupancy import Occupancy
from worker.embedding.copies.time_limit import TimeLimit
from worker.embedding.model.graphs import Interactions, SolverGraph

# Qubits of a Zephyr Z12, the smallest of today's QPUs.
_WHOLE_CHIP = 4800


@dataclass(eq=False)
class TilingTask:
    """One search for copies of an embedding, shared by all algorithms that take part in it.

    Attributes:
        graph: the model's interactions; each copy embeds all of them.
        occupancy: the chip with the copies that are placed so far.
        most: the largest number of copies wanted.
        time_limit: wall clock for all algorithms together.
        rng: source of all random choices, so that one seed gives the same copies again.
    """

    graph: Interactions
    occupancy: Occupancy
    most: int
    time_limit: TimeLimit
    rng: np.random.Generator

    @property
    def solver(self) -> SolverGraph:
        """Return the chip's working qubits and couplers."""
        return self.occupancy.solver

    @property
    def missing(self) -> int:
        """Return the number of copies that are still wanted, at least 0."""
        return max(0, self.most - len(self.occupancy.copies))

    @property
    def done(self) -> bool:
        """Return whether there are enough copies, or the time limit has passed."""
        return not self.missing or self.time_limit.expired

    @property
    def share_of_chip(self) -> float:
        """Return the chip's qubits as a share of those of a whole QPU, at most 1."""
        return min(1.0, self.solver.size / _WHOLE_CHIP)

    def draw_seed(self) -> int:
        """Return a seed in 0 .. 2^31 - 1 for minorminer or for another random generator."""
        return int(self.rng.integers(1 << 31))
