"""One embedding at a time: minorminer on a part of a solver, seeded and bounded in time."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import minorminer
import networkx as nx  # type: ignore[import-untyped]  # it has no types
import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from worker.embedding.model.graphs import Interactions, SolverGraph

Chains = list[list[int]]
IntArray = NDArray[np.int64]


def find_chains(
    graph: Interactions,
    couplers: NDArray[np.integer[Any]],
    qubits: NDArray[np.integer[Any]],
    seed: int,
    timeout_s: float,
    tries: int = 1,
    start: Chains | None = None,
) -> Chains | None:
    """Chains of each unit on the given couplers (M, 2) and qubits (Q,), or None when none were found.

    Units without an interaction take any qubit that is left. timeout_s is rounded up to whole seconds, as
    minorminer takes it. start: chains that are nearly right, to begin with; qubits that are not there, and
    chains of which nothing is, do not matter.
    """
    found: dict[int, list[int]] = {}
    if len(graph.edges):
        if not len(couplers):
            return None
        couplers = couplers if start is None else _largest_part(couplers)
        found = minorminer.find_embedding(
            graph.edges.tolist(),
            couplers.tolist(),
            random_seed=seed,
            timeout=max(1, math.ceil(timeout_s)),
            tries=tries,
            initial_chains={} if start is None else _present(start, couplers),
        )
        if not found:
            return None
    used = {qubit for chain in found.values() for qubit in chain}
    spare = iter([qubit for qubit in qubits.tolist() if qubit not in used])
    chains = [sorted(found[unit]) if unit in found else [next(spare, -1)] for unit in range(graph.units)]
    return None if any(chain == [-1] for chain in chains) else chains


def _largest_part(couplers: NDArray[np.integer[Any]]) -> NDArray[np.integer[Any]]:
    """Those couplers (M, 2) that lie in the largest connected part: minorminer takes a start only there."""
    parts = [list(part) for part in nx.connected_components(nx.Graph(couplers.tolist()))]
    held: NDArray[np.integer[Any]] = couplers[np.isin(couplers[:, 0], max(parts, key=len))]
    return held


def _present(start: Chains, couplers: NDArray[np.integer[Any]]) -> dict[int, list[int]]:
    """What there is of chains: by unit, those of their qubits that any coupler has."""
    known = set(np.unique(couplers).tolist())
    parts = {unit: [qubit for qubit in chain if qubit in known] for unit, chain in enumerate(start)}
    return {unit: part for unit, part in parts.items() if part}


def induced_couplers(solver: SolverGraph, qubits: NDArray[np.integer[Any]]) -> NDArray[np.int32]:
    """The couplers (M, 2) whose two ends are both among ``qubits``."""
    chosen = np.zeros(solver.size, dtype=np.bool_)
    chosen[qubits] = True
    return solver.couplers[chosen[solver.couplers].all(axis=1)]


def qubits_of(chains: Chains) -> list[int]:
    """All qubits, chain by chain."""
    return [qubit for chain in chains for qubit in chain]


def embedding_size(chains: Chains) -> tuple[int, int]:
    """Qubits in all, and in the longest chain: what makes an embedding better than another."""
    lengths = [len(chain) for chain in chains]
    return sum(lengths), max(lengths)
