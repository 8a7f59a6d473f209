"""Corrects chains that are nearly an embedding: adds missing couplers, removes qubits that no edge needs."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from worker.embedding.copies.minorminer import Chains
    from worker.embedding.model.graphs import Interactions, SolverGraph


class ChainEditor:
    """Chains of one embedding while they are changed; they stay disjoint.

    ``chains`` embed ``graph`` on ``solver`` nearly; qubits that may be added are ``free`` (size,) bool.
    """

    def __init__(
        self, graph: Interactions, solver: SolverGraph, chains: Chains, free: NDArray[np.bool_]
    ) -> None:
        self.graph = graph
        self.chains = [set(chain) for chain in chains]
        self.owner = {qubit: unit for unit, chain in enumerate(chains) for qubit in chain}
        self.free = free.copy()
        self.free[list(self.owner)] = False
        usable = self.free.copy()
        usable[list(self.owner)] = True
        self.near = _neighbours(solver, usable)
        self.partners: list[set[int]] = [set() for _ in chains]
        for i, j in graph.edges.tolist():
            self.partners[i].add(j)
            self.partners[j].add(i)
        self.contacts: dict[tuple[int, int], int] = {}
        for qubit, unit in self.owner.items():
            for other in self.near[qubit]:
                if self.owner.get(other, -1) > unit:
                    self._count(unit, self.owner[other], 1)

    def _count(self, unit: int, other: int, change: int) -> None:
        if other in self.partners[unit]:
            pair = (min(unit, other), max(unit, other))
            self.contacts[pair] = self.contacts.get(pair, 0) + change

    def trim(self) -> None:
        """Remove ends of chains that no edge needs, long chains first, until there are none."""
        order = sorted(range(len(self.chains)), key=lambda unit: (-len(self.chains[unit]), unit))
        for unit in order:
            ends = deque(sorted(self.chains[unit]))
            while ends:
                qubit = ends.popleft()
                joined = [other for other in self.near[qubit] if other in self.chains[unit]]
                if qubit in self.chains[unit] and len(joined) == 1 and not self._is_needed(unit, qubit):
                    self._remove(unit, qubit)
                    ends.append(joined[0])

    def _is_needed(self, unit: int, qubit: int) -> bool:
        lost: dict[int, int] = {}
        for other in self.near[qubit]:
            owner = self.owner.get(other, unit)
            if owner != unit and owner in self.partners[unit]:
                lost[owner] = lost.get(owner, 0) + 1
        pairs = ((min(unit, owner), max(unit, owner), count) for owner, count in lost.items())
        return any(self.contacts[(low, high)] <= count for low, high, count in pairs)

    def _remove(self, unit: int, qubit: int) -> None:
        for other in self.near[qubit]:
            if self.owner.get(other, unit) != unit:
                self._count(unit, self.owner[other], -1)
        self.chains[unit].remove(qubit)
        del self.owner[qubit]
        self.free[qubit] = True

    def _add(self, unit: int, qubit: int) -> None:
        self.free[qubit] = False
        self.owner[qubit] = unit
        self.chains[unit].add(qubit)
        for other in self.near[qubit]:
            if self.owner.get(other, unit) != unit:
                self._count(unit, self.owner[other], 1)

    def repair(self) -> bool:
        """Connect broken chains and missing edges by shortest paths over free qubits; return success."""
        for unit in range(len(self.chains)):
            if not self._join(unit):
                return False
        for i, j in self.graph.edges.tolist():
            if not self.contacts.get((i, j)) and not self._connect(i, j):
                return False
        return True

    def _join(self, unit: int) -> bool:
        """Connect the components of the chain of ``unit``; return success. An empty chain fails."""
        while True:
            chain = self.chains[unit]
            if not chain:
                return False
            component = self._component(chain)
            if len(component) == len(chain):
                return True
            path = self._shortest_path(component, chain - component)
            if path is None:
                return False
            for qubit in path:
                self._add(unit, qubit)

    def _component(self, chain: set[int]) -> set[int]:
        component, front = {min(chain)}, [min(chain)]
        while front:
            fresh = {other for qubit in front for other in self.near[qubit] if other in chain} - component
            component |= fresh
            front = sorted(fresh)
        return component

    def _connect(self, i: int, j: int) -> bool:
        path = self._shortest_path(self.chains[i], self.chains[j])
        if path is None:
            return False
        unit = i if len(self.chains[i]) <= len(self.chains[j]) else j  # the shorter chain grows
        for qubit in path:
            self._add(unit, qubit)
        return True

    def _shortest_path(self, start: set[int], goal: set[int]) -> list[int] | None:
        """Return the fewest free qubits that connect two sets, or None."""
        before: dict[int, int] = dict.fromkeys(sorted(start), -1)
        front = sorted(start)
        while front:
            fresh = []
            for qubit in front:
                for other in self.near[qubit]:
                    if other in goal:
                        return _walk_back(before, qubit)
                    if self.free[other] and other not in before:
                        before[other] = qubit
                        fresh.append(other)
            front = fresh
        return None

    def to_chains(self) -> Chains:
        """Return the chains, by unit."""
        return [sorted(chain) for chain in self.chains]


def _walk_back(before: dict[int, int], qubit: int) -> list[int]:
    path = []
    while before[qubit] >= 0:
        path.append(qubit)
        qubit = before[qubit]
    return path


def _neighbours(solver: SolverGraph, usable: NDArray[np.bool_]) -> dict[int, list[int]]:
    """Return the usable neighbours of each usable qubit, ascending."""
    couplers = solver.couplers[usable[solver.couplers].all(axis=1)]
    ends = np.concatenate([couplers, couplers[:, ::-1]])
    ends = ends[np.lexsort(ends.T[::-1])]
    qubits = np.flatnonzero(usable)
    spans = np.searchsorted(ends[:, 0], [qubits, qubits + 1]).T.tolist()
    others = ends[:, 1].tolist()
    return {qubit: others[start:stop] for qubit, (start, stop) in zip(qubits.tolist(), spans, strict=True)}
