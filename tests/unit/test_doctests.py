"""Examples in docstrings of the modules whose algorithms need one."""

from __future__ import annotations

import doctest
import importlib

import pytest

MODULES = [
    "annealq.estimators",
    "annealq.heads",
    "annealq.networks",
    "producer.client.blocking",
    "producer.client.errors",
    "producer.client.events",
    "producer.client.files",
    "producer.client.patience",
    "schema.codecs.samples",
    "schema.codecs.tiling",
    "schema.parameters.batch_sizes",
    "worker.annealers.exact",
    "worker.annealers.forest",
    "worker.embedding.copies.minorminer",
    "worker.embedding.layered.tracks",
    "worker.embedding.model.chain_strength",
    "worker.embedding.model.gauges",
    "worker.embedding.model.lattice",
    "worker.embedding.model.placement",
    "worker.embedding.model.unembedding",
    "worker.embedding.search.find",
    "worker.embedding.tiling.bit_graph",
    "worker.embedding.tiling.periodic",
    "worker.network.columns",
    "worker.network.quality",
    "schema.network.balance",
    "worker.network.layers",
    "worker.network.training.augmentation",
    "worker.network.training.samples",
    "worker.qubo.energy_model",
    "worker.qubo.ising",
    "worker.sapi.wire",
]


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings_are_right(name: str) -> None:
    failed, attempted = doctest.testmod(importlib.import_module(name))
    assert attempted > 0
    assert failed == 0
