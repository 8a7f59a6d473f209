"""Embeddings that are constructed from what is known of a lattice, judged by Ocean."""

from __future__ import annotations

import numpy as np
import pytest

from tests import chips, models
from worker.embedding.model.check import check_tiling
from worker.embedding.model.graphs import Interactions
from worker.embedding.search.find import find_embedding


@pytest.mark.parametrize(
    ("topology", "side", "qubits", "longest"), [("pegasus", 16, 1582, 13), ("zephyr", 12, 1221, 10)]
)
def test_hidden_layers_are_laid_out_not_searched(topology: str, side: int, qubits: int, longest: int) -> None:
    model, solver = models.conv358(), chips.chip(topology, side)
    found = find_embedding(Interactions.of(model), solver, tiles=1)
    assert found.method == "layered"
    assert len(found.tiling.qubits) <= qubits
    assert found.tiling.longest_chain <= longest
    chips.verify(Interactions.of(model), solver, *chips.chains_of(found.tiling))


@pytest.mark.parametrize(("topology", "side"), [("pegasus", 16), ("zephyr", 12)])
def test_folded_copies_lie_beside_each_other(topology: str, side: int) -> None:
    model, solver = models.conv358("folded"), chips.chip(topology, side)
    found = find_embedding(Interactions.of(model), solver)
    assert found.method == "layered"
    assert found.tiling.tiles >= 5
    check_tiling(Interactions.of(model), solver, found.tiling)


@pytest.mark.parametrize("seed", range(2))
def test_lines_go_round_dead_qubits(seed: int) -> None:
    model = models.conv358()
    solver = chips.chip("pegasus", 16, dead=0.015, seed=seed)
    found = find_embedding(Interactions.of(model), solver, tiles=1)
    assert found.method == "layered"
    assert found.tiling.longest_chain <= 16
    check_tiling(Interactions.of(model), solver, found.tiling)


@pytest.mark.parametrize(("topology", "side"), [("pegasus", 6), ("zephyr", 4)])
def test_small_copies_fill_the_lattices_period(topology: str, side: int) -> None:
    model, solver = models.head("folded"), chips.chip(topology, side)
    found = find_embedding(Interactions.of(model), solver, time_limit_s=6.0, seed=1)
    assert found.method == "lattice"
    assert found.tiling.tiles >= 0.65 * len(solver.qubits) / 16
    check_tiling(Interactions.of(model), solver, found.tiling)
    assert len(np.unique(found.tiling.qubits)) == len(found.tiling.qubits)
