"""Small chips with defects, and embeddings that minorminer finds on them."""

from __future__ import annotations

from typing import Any

import minorminer
import numpy as np
import pytest

from schema.codecs.tiling import Tiling
from tests import chips
from tests.models import dense
from worker.embedding.model.graphs import Interactions, SolverGraph
from worker.qubo.energy_model import EnergyModel, build_model


@pytest.fixture(params=[("chimera", 6, 6), ("pegasus", 4), ("zephyr", 3)], ids=lambda shape: shape[0])
def chip(request: pytest.FixtureRequest) -> SolverGraph:
    shape: tuple[Any, ...] = request.param
    return chips.chip(*shape, dead=0.015, dead_couplers=4, seed=1)


@pytest.fixture
def model() -> EnergyModel:
    """Dense layers with random weights and biases."""
    rng = np.random.default_rng(0)
    couplings = [dense(rng, 4, 3), dense(rng, 3, 3)]
    return build_model(couplings, [rng.normal(size=3), rng.normal(size=3)], lam=1.0)


@pytest.fixture
def interactions(model: EnergyModel) -> Interactions:
    return Interactions.of(model)


@pytest.fixture
def tiling(chip: SolverGraph, model: EnergyModel) -> Tiling:
    """Three tiles, by minorminer, each on the qubits that the others left free."""
    free = [tuple(pair) for pair in chip.couplers.tolist()]
    tiles = []
    for seed in range(3):
        chains = minorminer.find_embedding(model.edges.tolist(), free, random_seed=seed)
        assert chains, "the chip of this test is too small"
        tiles.append([list(chains[unit]) for unit in range(model.units)])
        used = {qubit for chain in tiles[-1] for qubit in chain}
        free = [pair for pair in free if not used & set(pair)]
    return Tiling.from_chains(tiles)
