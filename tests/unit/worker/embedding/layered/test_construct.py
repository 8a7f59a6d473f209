"""Layered networks are constructed, also around qubits that do not work."""

from __future__ import annotations

import numpy as np
import pytest

from tests import models
from tests.chips import chip, verify
from worker.embedding.copies.minorminer import embedding_size
from worker.embedding.layered import construct
from worker.embedding.layered.layers import as_layered
from worker.embedding.model.graphs import Interactions


@pytest.mark.parametrize(
    ("topology", "side", "dead", "qubits", "longest"),
    [
        ("pegasus", 16, 0.0, 1582, 13),
        ("zephyr", 12, 0.0, 1221, 10),
        ("pegasus", 16, 0.015, 1900, 16),
        ("zephyr", 12, 0.015, 1500, 16),
    ],
)
def test_conv358_fits(topology: str, side: int, dead: float, qubits: int, longest: int) -> None:
    graph, solver = Interactions.of(models.conv358()), chip(topology, side, dead=dead, seed=1)
    chains = construct.construct_embedding(graph, solver, solver.working)
    assert chains is not None
    verify(graph, solver, chains)
    assert embedding_size(chains) <= (qubits, qubits)
    assert embedding_size(chains)[1] <= longest


def test_copies_are_stacked() -> None:
    graph, solver = Interactions.of(models.conv358("folded")), chip("zephyr", 12)
    copies = construct.construct_copies(graph, solver, solver.working, 3)
    assert len(copies) == 3
    for chains in copies:
        verify(graph, solver, chains)
    used = [qubit for chains in copies for chain in chains for qubit in chain]
    assert len(set(used)) == len(used)


def test_qubits_that_are_taken_stay_untouched() -> None:
    graph, solver = Interactions.of(models.conv358("folded")), chip("pegasus", 16)
    free = solver.working.copy()
    free[np.random.default_rng(0).choice(solver.size, 60, replace=False)] = False
    chains = construct.construct_embedding(graph, solver, free)
    assert chains is not None
    assert free[[qubit for chain in chains for qubit in chain]].all()


def test_windows_are_read_off_the_edges() -> None:
    layers = as_layered(Interactions.of(models.conv358()))
    assert layers is not None
    assert len(layers.columns) == 128 + 10
    assert sorted(segment.unit for row in layers.rows for segment in row) == [
        *range(196),
        *range(196 + 128, 358),
    ]
    assert len(layers.rows) == 14 * 5 + 24


def test_other_networks_are_none() -> None:
    solver = chip("zephyr", 2)
    for model in (models.head(), models.head("folded"), models.pooled(), models.pooled("folded")):
        assert as_layered(Interactions.of(model)) is None
        assert construct.construct_embedding(Interactions.of(model), solver, solver.working) is None
        assert construct.construct_copies(Interactions.of(model), solver, solver.working, 2) == []


def test_a_small_chip_holds_none() -> None:
    solver = chip("zephyr", 4)
    assert (
        construct.construct_embedding(Interactions.of(models.conv358("folded")), solver, solver.working)
        is None
    )
