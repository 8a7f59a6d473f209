"""Small chips, and embeddings that minorminer finds on them."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import dwave.graphs
import minorminer
import numpy as np
import pytest

from schema.codecs.tiling import Tiling
from worker.embedding.model.graphs import Interactions, SolverGraph
from worker.qubo.energy_model import Coupling, EnergyModel, build_model

GRAPHS = {
    "chimera": (dwave.graphs.chimera_graph, (6, 6, 4)),
    "pegasus": (dwave.graphs.pegasus_graph, (4,)),
    "zephyr": (dwave.graphs.zephyr_graph, (3, 4)),
}


def make_chip(topology: str, dead: int = 0, seed: int = 1) -> SolverGraph:
    """A small chip with some dead qubits and couplers."""
    generator, shape = GRAPHS[topology]
    graph = generator(*shape)
    drawn = np.random.default_rng(seed)
    graph.remove_nodes_from(drawn.choice(sorted(graph), dead, replace=False).tolist())
    edges = sorted(tuple(sorted(edge)) for edge in graph.edges)
    for index in sorted(drawn.choice(len(edges), dead, replace=False).tolist(), reverse=True):
        del edges[index]
    size = generator(*shape).number_of_nodes() if topology == "chimera" else max(generator(*shape)) + 1
    properties: dict[str, Any] = {
        "topology": {"type": topology, "shape": list(shape)},
        "num_qubits": size,
        "qubits": sorted(graph),
        "couplers": edges,
    }
    return SolverGraph.from_properties(f"small-{topology}", "small_1", properties)


def make_model(sizes: tuple[int, ...], seed: int = 0, lam: float = 1.0) -> EnergyModel:
    """Dense layers with random weights and biases."""
    drawn = np.random.default_rng(seed)
    couplings, biases = [], []
    for n_in, n_out in pairwise(sizes):
        weights = drawn.normal(size=(n_in, n_out))
        couplings.append(Coupling(weights, np.ones((n_in, n_out), dtype=np.bool_)))
        biases.append(drawn.normal(size=n_out))
    return build_model(couplings, biases, lam)


def search(chip: SolverGraph, model: EnergyModel, tiles: int, seed: int = 0) -> Tiling:
    """Tiles one after another, by minorminer, each on what the others left."""
    free = [tuple(pair) for pair in chip.couplers.tolist()]
    found = []
    for tile in range(tiles):
        chains = minorminer.find_embedding(model.edges.tolist(), free, random_seed=seed + tile)
        assert chains, "the chip of this test is too small"
        found.append([list(chains[unit]) for unit in range(model.units)])
        used = {qubit for chain in found[-1] for qubit in chain}
        free = [pair for pair in free if not used & set(pair)]
    return Tiling.from_chains(found)


@pytest.fixture(params=sorted(GRAPHS))
def chip(request: pytest.FixtureRequest) -> SolverGraph:
    return make_chip(request.param, dead=4)


@pytest.fixture
def model() -> EnergyModel:
    return make_model((4, 3, 3))


@pytest.fixture
def interactions(model: EnergyModel) -> Interactions:
    return Interactions.of(model)


@pytest.fixture
def tiling(chip: SolverGraph, model: EnergyModel) -> Tiling:
    return search(chip, model, tiles=3)
