"""Sets of qubits as the bits of one integer: what annealing of chains needs, thousands of times a second.

A sheet is either a region of a chip, or a part of the endless lattice on which qubits count as one when a
sublattice moves them onto each other: chains found on it can be laid side by side without end.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import random

    from worker.embedding.model.graphs import SolverGraph


@dataclass(frozen=True, eq=False)
class BitGraph:
    """A graph of at most a few hundred qubits.

    qubits: the solver's index of each bit. adjacency: for each bit, the bits coupled to it. period: bits
    ``b`` and ``b + period`` are one and the same qubit moved; the number of bits where nothing repeats.
    """

    qubits: NDArray[np.int64]
    adjacency: list[int]
    period: int

    @property
    def full(self) -> int:
        """All bits."""
        return (1 << len(self.adjacency)) - 1

    def fold(self, mask: int) -> int:
        """The qubits of a mask, each in its first place."""
        if self.period == len(self.adjacency):
            return mask
        folded, first = 0, (1 << self.period) - 1
        while mask:
            folded |= mask & first
            mask >>= self.period
        return folded

    def spread(self, folded: int) -> int:
        """All places of folded qubits."""
        if self.period == len(self.adjacency):
            return folded
        mask = 0
        for start in range(0, len(self.adjacency), self.period):
            mask |= folded << start
        return mask

    def near(self, mask: int) -> int:
        """All bits coupled to any of a mask."""
        found, adjacency = 0, self.adjacency
        while mask:
            bit = mask & -mask
            found |= adjacency[bit.bit_length() - 1]
            mask ^= bit
        return found

    def part(self, mask: int, seed: int) -> int:
        """The bits of a mask that hang together with ``seed``, one of them."""
        part = front = seed
        while front:
            front = self.near(front) & mask & ~part
            part |= front
        return part

    def connected(self, mask: int) -> bool:
        """Whether a mask hangs together; the empty one does not."""
        return mask != 0 and self.part(mask, mask & -mask) == mask

    def to_qubits(self, mask: int) -> list[int]:
        """The solver's qubits of a mask."""
        return [int(self.qubits[bit]) for bit in set_bits(mask)]


def region_graph(solver: SolverGraph, qubits: NDArray[np.integer[Any]]) -> BitGraph:
    """Some qubits of a chip; nothing repeats."""
    return periodic_graph(solver, qubits, len(qubits))


def periodic_graph(solver: SolverGraph, qubits: NDArray[np.integer[Any]], period: int) -> BitGraph:
    """Qubits of a chip in whole periods: qubit ``b + period`` is qubit ``b`` moved."""
    place = np.full(solver.size, -1, dtype=np.int64)
    place[qubits] = np.arange(len(qubits))
    ends = place[solver.couplers]
    adjacency = [0] * len(qubits)
    for one, other in ends[(ends >= 0).all(axis=1)].tolist():
        adjacency[one] |= 1 << other
        adjacency[other] |= 1 << one
    return BitGraph(qubits.astype(np.int64), adjacency, period)


def set_bits(mask: int) -> list[int]:
    """The numbers of the bits that are set, ascending."""
    found = []
    while mask:
        bit = mask & -mask
        found.append(bit.bit_length() - 1)
        mask ^= bit
    return found


def random_bit(mask: int, rng: random.Random) -> int:
    """One set bit of a mask that has any, drawn evenly; as a mask."""
    for _ in range(rng.randrange(mask.bit_count())):
        mask &= mask - 1
    return mask & -mask
