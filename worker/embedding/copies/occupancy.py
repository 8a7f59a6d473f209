"""The chip while copies are laid on it: which qubits are free, and which copy has the others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from schema.codecs.tiling import Tiling
from worker.embedding.copies.minorminer import Chains, qubits_of
from worker.embedding.model import lattice

if TYPE_CHECKING:
    from worker.embedding.model.graphs import SolverGraph

IntArray = NDArray[np.int64]

FREE, DEAD = -1, -2


class Occupancy:
    """Copies of one embedding, disjoint at any time.

    owner: (size,) int64: the copy that has a qubit, or ``FREE`` or ``DEAD``. copies: chains by copy.
    """

    def __init__(self, solver: SolverGraph) -> None:
        self.solver = solver
        self.lattice = lattice.lattice_of(solver)
        self.owner = np.where(solver.working, FREE, DEAD).astype(np.int64)
        self.copies: dict[int, Chains] = {}
        self._next = 0

    @property
    def free(self) -> IntArray:
        """Qubits that work and that no copy has, ascending."""
        return np.flatnonzero(self.owner == FREE)

    def place(self, chains: Chains) -> int:
        """Lay a copy on free qubits; its number.

        Raises:
            ValueError: a qubit is not free.
        """
        qubits = qubits_of(chains)
        if (self.owner[qubits] != FREE).any():
            raise ValueError("a copy would lie on qubits that are not free")
        copy, self._next = self._next, self._next + 1
        self.owner[qubits] = copy
        self.copies[copy] = chains
        return copy

    def remove(self, copy: int) -> Chains:
        """Take a copy away; its chains."""
        chains = self.copies.pop(copy)
        self.owner[qubits_of(chains)] = FREE
        return chains

    def nearest(self, qubits: IntArray, centre: NDArray[np.floating[Any]], count: int) -> IntArray:
        """At most ``count`` of ``qubits``, those next to a point (x, y), ascending."""
        if len(qubits) <= count:
            return qubits
        distance = np.abs(self.lattice.centres[qubits] - centre).max(axis=1)
        return np.sort(qubits[np.argsort(distance, kind="stable")[:count]])

    def to_tiling(self, most: int | None = None) -> Tiling:
        """The copies as a tiling, those with the fewest qubits first when only ``most`` are wanted.

        Raises:
            ValueError: there are none.
        """
        chosen = list(self.copies.values())
        if most is not None and len(chosen) > most:
            chosen = sorted(chosen, key=lambda chains: sum(map(len, chains)))[:most]
        return Tiling.from_chains(chosen)
