"""Chains made shorter, and edges that lack a coupler given one: for embeddings that are nearly right."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from worker.embedding.copies.minorminer import Chains
    from worker.embedding.model.graphs import Interactions, SolverGraph


class ChainEditor:
    """Chains of one embedding that are being changed; they stay disjoint.

    free: (size,) bool, qubits that may be added.
    """

    def __init__(
        self, graph: Interactions, solver: SolverGraph, chains: Chains, free: NDArray[np.bool_]
    ) -> None:
        self.graph = graph
        self.chains = [set(chain) for chain in chains]
        self.owner = {qubit: unit for unit, chain in enumerate(chains) for qubit in chain}
        self.free = free.copy()
        self.free[list(self.owner)] = False
        useful = self.free.copy()
        useful[list(self.owner)] = True
        self.near = _neighbours(solver, useful)
        self.partners: list[set[int]] = [set() for _ in chains]
        for one, other in graph.edges.tolist():
            self.partners[one].add(other)
            self.partners[other].add(one)
        self.contacts: dict[tuple[int, int], int] = {}
        for qubit, unit in self.owner.items():
            for other in self.near[qubit]:
                if self.owner.get(other, -1) > unit:
                    self._count(unit, self.owner[other], 1)

    def _count(self, one: int, other: int, change: int) -> None:
        if other in self.partners[one]:
            pair = (min(one, other), max(one, other))
            self.contacts[pair] = self.contacts.get(pair, 0) + change

    def trim(self) -> None:
        """Drop ends of chains that no edge needs, until there are none; long chains first."""
        order = sorted(range(len(self.chains)), key=lambda unit: (-len(self.chains[unit]), unit))
        for unit in order:
            ends = deque(sorted(self.chains[unit]))
            while ends:
                qubit = ends.popleft()
                kept = [other for other in self.near[qubit] if other in self.chains[unit]]
                if qubit in self.chains[unit] and len(kept) == 1 and not self._needed(unit, qubit):
                    self._drop(unit, qubit)
                    ends.append(kept[0])

    def _needed(self, unit: int, qubit: int) -> bool:
        lost: dict[int, int] = {}
        for other in self.near[qubit]:
            owner = self.owner.get(other, unit)
            if owner != unit and owner in self.partners[unit]:
                lost[owner] = lost.get(owner, 0) + 1
        pairs = ((min(unit, owner), max(unit, owner), count) for owner, count in lost.items())
        return any(self.contacts[(low, high)] <= count for low, high, count in pairs)

    def _drop(self, unit: int, qubit: int) -> None:
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
        """Join broken chains and missing edges by shortest ways over free qubits; whether all are joined."""
        for unit in range(len(self.chains)):
            if not self._join(unit):
                return False
        for one, other in self.graph.edges.tolist():
            if not self.contacts.get((one, other)) and not self._connect(one, other):
                return False
        return True

    def _join(self, unit: int) -> bool:
        """Connect the parts of a chain; an empty one fails."""
        while True:
            chain = self.chains[unit]
            if not chain:
                return False
            part = self._part(chain)
            if len(part) == len(chain):
                return True
            way = self._way(part, chain - part)
            if way is None:
                return False
            for qubit in way:
                self._add(unit, qubit)

    def _part(self, chain: set[int]) -> set[int]:
        part, front = {min(chain)}, [min(chain)]
        while front:
            fresh = {other for qubit in front for other in self.near[qubit] if other in chain} - part
            part |= fresh
            front = sorted(fresh)
        return part

    def _connect(self, one: int, other: int) -> bool:
        way = self._way(self.chains[one], self.chains[other])
        if way is None:
            return False
        # The shorter chain takes the way over, as far as it must.
        unit = one if len(self.chains[one]) <= len(self.chains[other]) else other
        for qubit in way:
            self._add(unit, qubit)
        return True

    def _way(self, start: set[int], goal: set[int]) -> list[int] | None:
        """The fewest free qubits between two sets, or None."""
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
        """The chains as they stand."""
        return [sorted(chain) for chain in self.chains]


def _walk_back(before: dict[int, int], qubit: int) -> list[int]:
    way = []
    while before[qubit] >= 0:
        way.append(qubit)
        qubit = before[qubit]
    return way


def _neighbours(solver: SolverGraph, useful: NDArray[np.bool_]) -> dict[int, list[int]]:
    """The useful neighbours of each useful qubit, ascending."""
    couplers = solver.couplers[useful[solver.couplers].all(axis=1)]
    ends = np.concatenate([couplers, couplers[:, ::-1]])
    ends = ends[np.lexsort(ends.T[::-1])]
    qubits = np.flatnonzero(useful)
    spans = np.searchsorted(ends[:, 0], [qubits, qubits + 1]).T.tolist()
    others = ends[:, 1].tolist()
    return {qubit: others[start:stop] for qubit, (start, stop) in zip(qubits.tolist(), spans, strict=True)}
