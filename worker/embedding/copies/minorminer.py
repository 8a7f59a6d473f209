"""One copy at a time: minorminer on a part of a solver's graph, with a seed and a time limit."""

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
    initial_chains: Chains | None = None,
) -> Chains | None:
    """Return chains of all units on a part of a chip, or None if minorminer finds none.

    Units without an interaction, which minorminer does not know, take any qubit that remains.

    Args:
        graph: n units and their interactions.
        couplers: (M, 2), both ends among ``qubits``.
        qubits: (Q,), qubits that may be used.
        seed: of minorminer's random choices.
        timeout_s: rounded up to whole seconds, as minorminer takes it.
        initial_chains: chains that are nearly right, from which minorminer starts. Qubits that are not on
            this part of the chip are left out, and so are empty chains.

    References:
        Cai, Macready, Roy 2014, A practical heuristic for finding graph minors, arXiv 1406.2741.
    """
    embedding: dict[int, list[int]] = {}
    if len(graph.edges):
        if not len(couplers):
            return None
        couplers = couplers if initial_chains is None else _largest_component(couplers)
        embedding = minorminer.find_embedding(
            graph.edges.tolist(),
            couplers.tolist(),
            random_seed=seed,
            timeout=max(1, math.ceil(timeout_s)),
            tries=1,
            initial_chains={} if initial_chains is None else _restrict(initial_chains, couplers),
        )
        if not embedding:
            return None
    used = {qubit for chain in embedding.values() for qubit in chain}
    spare = iter([qubit for qubit in qubits.tolist() if qubit not in used])
    chains = [
        sorted(embedding[unit]) if unit in embedding else [next(spare, -1)] for unit in range(graph.units)
    ]
    return None if any(chain == [-1] for chain in chains) else chains


def _largest_component(couplers: NDArray[np.integer[Any]]) -> NDArray[np.integer[Any]]:
    """Return the couplers (M, 2) of the largest component: minorminer takes initial chains only there."""
    components = [list(component) for component in nx.connected_components(nx.Graph(couplers.tolist()))]
    largest: NDArray[np.integer[Any]] = couplers[np.isin(couplers[:, 0], max(components, key=len))]
    return largest


def _restrict(chains: Chains, couplers: NDArray[np.integer[Any]]) -> dict[int, list[int]]:
    """Return, by unit, the qubits of its chain that have a coupler; without empty chains."""
    coupled = set(np.unique(couplers).tolist())
    parts = {unit: [qubit for qubit in chain if qubit in coupled] for unit, chain in enumerate(chains)}
    return {unit: part for unit, part in parts.items() if part}


def induced_couplers(solver: SolverGraph, qubits: NDArray[np.integer[Any]]) -> NDArray[np.int32]:
    """Return the couplers (M, 2) of ``solver`` whose two ends are both among ``qubits``."""
    chosen = np.zeros(solver.size, dtype=np.bool_)
    chosen[qubits] = True
    return solver.couplers[chosen[solver.couplers].all(axis=1)]


def qubits_of(chains: Chains) -> list[int]:
    """Return all qubits of ``chains``, chain by chain."""
    return [qubit for chain in chains for qubit in chain]


def embedding_size(chains: Chains) -> tuple[int, int]:
    """Return the number of qubits of ``chains`` and the longest chain: the smaller, the better.

    >>> embedding_size([[0, 1], [2], [3, 4, 5]])
    (6, 3)
    """
    lengths = [len(chain) for chain in chains]
    return sum(lengths), max(lengths)
