"""One embedding at a time: minorminer on a part of a solver, seeded and bounded in time."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import minorminer
import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from worker.embedding.graph import Interactions, SolverGraph

Chains = list[list[int]]
IntArray = NDArray[np.int64]


def embed(
    graph: Interactions,
    couplers: NDArray[np.integer[Any]],
    qubits: NDArray[np.integer[Any]],
    seed: int,
    timeout_s: float,
    tries: int = 1,
) -> Chains | None:
    """Chains of each unit on the given couplers (M, 2) and qubits (Q,), or None when none were found.

    Units without an interaction take any qubit that is left. timeout_s is rounded up to whole seconds, as
    minorminer takes it.
    """
    found: dict[int, list[int]] = {}
    if len(graph.edges):
        if not len(couplers):
            return None
        found = minorminer.find_embedding(
            graph.edges.tolist(),
            couplers.tolist(),
            random_seed=seed,
            timeout=max(1, math.ceil(timeout_s)),
            tries=tries,
        )
        if not found:
            return None
    used = {qubit for chain in found.values() for qubit in chain}
    spare = iter([qubit for qubit in qubits.tolist() if qubit not in used])
    chains = [sorted(found[unit]) if unit in found else [next(spare, -1)] for unit in range(graph.units)]
    return None if any(chain == [-1] for chain in chains) else chains


def induced(solver: SolverGraph, qubits: NDArray[np.integer[Any]]) -> NDArray[np.int32]:
    """The couplers (M, 2) whose two ends are both among ``qubits``."""
    chosen = np.zeros(solver.size, dtype=np.bool_)
    chosen[qubits] = True
    return solver.couplers[chosen[solver.couplers].all(axis=1)]


def size(chains: Chains) -> tuple[int, int]:
    """Qubits in all, and in the longest chain: what makes an embedding better than another."""
    lengths = [len(chain) for chain in chains]
    return sum(lengths), max(lengths)
