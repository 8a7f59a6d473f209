"""Solver graphs for tests: ideal lattices, and the same with qubits and couplers that do not work."""

from __future__ import annotations

from functools import lru_cache

import dwave.graphs
import networkx as nx
import numpy as np
from dwave.embedding import verify_embedding

from schema.codecs.tiling import Tiling
from worker.embedding.model.graphs import Interactions, SolverGraph


@lru_cache(16)
def chip(topology: str, *shape: int, dead: float = 0.0, dead_couplers: int = 0, seed: int = 0) -> SolverGraph:
    """A lattice without a random share ``dead`` of its qubits and some couplers."""
    make = getattr(dwave.graphs, f"{topology}_graph")
    graph: nx.Graph = make(*shape)
    full = {"pegasus": shape[:1], "zephyr": (*shape, 4)[:2], "chimera": (shape[0], shape[-1], 4)}[topology]
    sizes = {
        "pegasus": 24 * shape[0] * (shape[0] - 1),
        "zephyr": 4 * full[-1] * shape[0] * (2 * shape[0] + 1),
        "chimera": 2 * int(np.prod(full)),
    }
    rng = np.random.default_rng(seed)
    nodes = np.array(sorted(graph))
    graph.remove_nodes_from(rng.choice(nodes, round(dead * len(nodes)), replace=False).tolist())
    edges = sorted(tuple(sorted(edge)) for edge in graph.edges)
    for gone in rng.choice(len(edges), dead_couplers, replace=False).tolist():
        graph.remove_edge(*edges[gone])
    properties = {
        "topology": {"type": topology, "shape": list(full)},
        "num_qubits": sizes[topology],
        "qubits": sorted(graph),
        "couplers": sorted(tuple(sorted(edge)) for edge in graph.edges),
    }
    return SolverGraph.from_properties(topology, f"{topology}_{seed}", properties)


def chains_of(tiling: Tiling) -> list[list[list[int]]]:
    """The chains of each tile, by unit."""
    units = range(tiling.units)
    return [[tiling.chain(tile, unit).tolist() for unit in units] for tile in range(tiling.tiles)]


def verify(graph: Interactions, solver: SolverGraph, *tiles: list[list[int]]) -> None:
    """Ocean's own check of each tile; raises when one does not hold."""
    target = _couplers(solver)
    for chains in tiles:
        assert verify_embedding(dict(enumerate(chains)), graph.edges.tolist(), target)


@lru_cache(16)
def _couplers(solver: SolverGraph) -> nx.Graph:
    return nx.Graph(solver.couplers.tolist())
