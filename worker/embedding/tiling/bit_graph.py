"""Sets of qubits as the bits of one integer: annealing of chains tests thousands of sets a second.

A graph is either a part of a chip, or several periods of an ideal lattice. In the second case all qubits that
a sublattice moves onto each other count as one, so chains found on the graph can be repeated side by side.
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
    """A graph of at most a few hundred qubits; a mask is a set of them, one bit each.

    Attributes:
        qubits: the solver's index of each bit.
        adjacency: for each bit, the mask of the bits that are coupled to it.
        period: bits ``b`` and ``b + period`` are the same qubit, moved; without repetition, the number of
            bits.

    Examples:
        A ring of four qubits as two periods of two:

        >>> import numpy as np
        >>> ring = BitGraph(np.arange(4), [0b1010, 0b0101, 0b1010, 0b0101], period=2)
        >>> bin(ring.neighbours(0b0001))
        '0b1010'
        >>> bin(ring.fold(0b1010)), bin(ring.unfold(0b10))
        ('0b10', '0b1010')
    """

    qubits: NDArray[np.int64]
    adjacency: list[int]
    period: int

    @property
    def all_bits(self) -> int:
        """Return the mask of all bits."""
        return (1 << len(self.adjacency)) - 1

    def fold(self, mask: int) -> int:
        """Return ``mask`` moved into the first period."""
        if self.period == len(self.adjacency):
            return mask
        folded, first = 0, (1 << self.period) - 1
        while mask:
            folded |= mask & first
            mask >>= self.period
        return folded

    def unfold(self, folded: int) -> int:
        """Return ``folded``, a mask in the first period, repeated in all periods."""
        if self.period == len(self.adjacency):
            return folded
        mask = 0
        for start in range(0, len(self.adjacency), self.period):
            mask |= folded << start
        return mask

    def neighbours(self, mask: int) -> int:
        """Return all bits that are coupled to any bit of ``mask``."""
        neighbours, adjacency = 0, self.adjacency
        while mask:
            bit = mask & -mask
            neighbours |= adjacency[bit.bit_length() - 1]
            mask ^= bit
        return neighbours

    def component(self, mask: int, seed: int) -> int:
        """Return the connected component of ``mask`` that contains the bit ``seed``."""
        component = front = seed
        while front:
            front = self.neighbours(front) & mask & ~component
            component |= front
        return component

    def connected(self, mask: int) -> bool:
        """Return whether ``mask`` is connected; the empty one is not."""
        return mask != 0 and self.component(mask, mask & -mask) == mask

    def to_qubits(self, mask: int) -> list[int]:
        """Return the solver's qubits of ``mask``."""
        return [int(self.qubits[bit]) for bit in set_bits(mask)]


def region_graph(solver: SolverGraph, qubits: NDArray[np.integer[Any]]) -> BitGraph:
    """Return the graph of some ``qubits`` of ``solver``, without repetition."""
    return periodic_graph(solver, qubits, len(qubits))


def periodic_graph(solver: SolverGraph, qubits: NDArray[np.integer[Any]], period: int) -> BitGraph:
    """Return the graph of ``qubits`` of ``solver`` in whole periods: ``b + period`` is ``b`` moved."""
    place = np.full(solver.size, -1, dtype=np.int64)
    place[qubits] = np.arange(len(qubits))
    ends = place[solver.couplers]
    adjacency = [0] * len(qubits)
    for i, j in ends[(ends >= 0).all(axis=1)].tolist():
        adjacency[i] |= 1 << j
        adjacency[j] |= 1 << i
    return BitGraph(qubits.astype(np.int64), adjacency, period)


def set_bits(mask: int) -> list[int]:
    """Return the numbers of the bits that are set in ``mask``, ascending.

    >>> set_bits(0b1101)
    [0, 2, 3]
    """
    numbers = []
    while mask:
        bit = mask & -mask
        numbers.append(bit.bit_length() - 1)
        mask ^= bit
    return numbers


def random_bit(mask: int, rng: random.Random) -> int:
    """Return one set bit of the non-empty ``mask``, drawn uniformly by ``rng``, as a mask."""
    for _ in range(rng.randrange(mask.bit_count())):
        mask &= mask - 1
    return mask & -mask
