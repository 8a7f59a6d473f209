"""Which qubits of a chip are free, and which copy of an embedding occupies the others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from schema.codecs.tiling import Tiling
from worker.embedding.copies.minorminer import Chains, qubits_of
from worker.embedding.model.lattice import lattice_of

if TYPE_CHECKING:
    from worker.embedding.model.graphs import SolverGraph

IntArray = NDArray[np.int64]

FREE, DEAD = -1, -2


class Occupancy:
    """Disjoint copies of one embedding on a chip.

    Attributes:
        owner: (size,) int64, the number of the copy that occupies a qubit, or ``FREE`` or ``DEAD``.
        copies: chains of each copy, by its number.
    """

    def __init__(self, solver: SolverGraph) -> None:
        self.solver = solver
        self.lattice = lattice_of(solver)
        self.owner = np.where(solver.working, FREE, DEAD).astype(np.int64)
        self.copies: dict[int, Chains] = {}
        self._next = 0

    @property
    def free(self) -> IntArray:
        """Working qubits that no copy occupies, ascending."""
        return np.flatnonzero(self.owner == FREE)

    @property
    def occupied(self) -> IntArray:
        """Qubits that a copy occupies, ascending."""
        return np.flatnonzero(self.owner >= 0)

    def place(self, chains: Chains) -> int:
        """Place a copy with these ``chains`` on free qubits and return its number.

        Raises:
            ValueError: a qubit is not free.
        """
        qubits = qubits_of(chains)
        if (self.owner[qubits] != FREE).any():
            raise ValueError("a copy would occupy qubits that are not free")
        copy, self._next = self._next, self._next + 1
        self.owner[qubits] = copy
        self.copies[copy] = chains
        return copy

    def remove(self, copy: int) -> Chains:
        """Remove ``copy`` and return its chains."""
        chains = self.copies.pop(copy)
        self.owner[qubits_of(chains)] = FREE
        return chains

    def nearest(self, qubits: IntArray, centre: NDArray[np.floating[Any]], count: int) -> IntArray:
        """Return at most ``count`` of ``qubits``, those nearest to the point ``centre`` (x, y), ascending."""
        if len(qubits) <= count:
            return qubits
        distance = np.abs(self.lattice.centres[qubits] - centre).max(axis=1)
        return np.sort(qubits[np.argsort(distance, kind="stable")[:count]])

    def left_to_right(self, qubits: IntArray) -> IntArray:
        """Return ``qubits`` by x, in whole lines, then by y: from one side of the chip to the other."""
        centres = self.lattice.centres[qubits]
        return qubits[np.lexsort((centres[:, 1], centres[:, 0].round()))]

    def to_tiling(self, most: int | None = None) -> Tiling:
        """Return the copies as a tiling; if only ``most`` are wanted, those with the fewest qubits.

        Raises:
            ValueError: there are none.
        """
        chosen = list(self.copies.values())
        if most is not None and len(chosen) > most:
            chosen = sorted(chosen, key=lambda chains: len(qubits_of(chains)))[:most]
        return Tiling.from_chains(chosen)
