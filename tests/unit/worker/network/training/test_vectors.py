"""Feature vectors: whatever their scale, small first weights, and nothing to store but weights."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from schema.errors import NetworkError
from schema.network.architecture import Architecture
from schema.network.layers import Training
from worker.network import inference, training, transfer
from worker.network.features import features, restore
from worker.network.training import starting
from worker.network.training.samples import Samples

Vectors = tuple[NDArray[np.float32], NDArray[np.int64]]

VALUES, CLASSES = 12, 3


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def clusters(count: int, seed: int) -> Vectors:
    """Vectors around a centre of each class; value 3 is always the same, others are far from 0 or large."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(9).normal(0, 1, (CLASSES, VALUES))
    labels = np.arange(count) % CLASSES
    vectors = centres[labels] + rng.normal(0, 0.6, (count, VALUES))
    scale = np.logspace(-3, 3, VALUES)
    scale[3] = 0.0
    return (vectors * scale + 50.0 * np.logspace(-3, 3, VALUES)).astype(np.float32), labels


def layers(**plan: Any) -> Architecture:
    return Architecture.from_dict(
        {
            "name": "vectors",
            "input": {"kind": "vector", "values": VALUES},
            "classes": CLASSES,
            "features": [{"kind": "dense", "units": 6, "activation": "tanh"}],
            "training": {"epochs": 20, "batch_size": 16, "validation": 0.2, "learning_rate": 0.01, **plan},
        }
    )


def test_vectors_of_any_scale_are_learnt() -> None:
    made = training.train(layers(), *clusters(300, 0), seed=0)
    vectors, labels = clusters(300, 1)
    assert np.mean(inference.classify(layers(), made.weights, vectors) == labels) >= 0.9
    # The weights alone say what was seen while training: nothing else is stored.
    own = made.metrics[made.best_epoch - 1].validation_accuracy
    assert made.quality.accuracy == pytest.approx(own)
    # A value that did not vary has no weight, so that it may be another one later.
    assert not made.weights["features.0.weight"][:, 3].any()


def test_without_an_order_only_images_are_normalised_by_batches() -> None:
    assert not starting.start(layers(), "energy").stacks[0].norms
    assert starting.start(layers(batch_norm=True), "energy").stacks[0].norms
    pixels = {**layers().to_dict(), "input": {"height": 3, "width": 4}}
    assert starting.start(Architecture.from_dict(pixels), "energy").stacks[0].norms
    without = {**pixels, "training": {"batch_norm": False}}
    assert not starting.start(Architecture.from_dict(without), "energy").stacks[0].norms


def test_standardised_vectors_have_mean_0_and_deviation_1() -> None:
    vectors, labels = clusters(200, 0)
    network = starting.start(layers(), "energy")
    samples = Samples.of(vectors, labels, np.arange(200))
    starting.standardise(network, samples)
    assert network.stacks[0].standard is not None
    out = network.stacks[0].standard(torch.from_numpy(vectors)).numpy()
    varying = np.arange(VALUES) != 3
    np.testing.assert_allclose(out.mean(axis=0), 0.0, atol=1e-3)
    np.testing.assert_allclose(out.std(axis=0)[varying], 1.0, atol=1e-3)
    assert not out[:, 3].any()


def test_only_the_first_dense_layer_decays() -> None:
    features = [{"kind": "dense", "units": 8}, *layers().to_dict()["features"]]
    plan = {"dense_decay": 20.0, "weight_decay": 0.01}
    deeper = Architecture.from_dict({**layers().to_dict(), "features": features, "training": plan})
    network = starting.start(deeper, "energy")
    decays = {
        name: group["weight_decay"]
        for group in starting.optimiser(network, deeper.training).param_groups
        for name, value in network.named_parameters()
        if any(value is one for one in group["params"])
    }
    assert decays.pop("features.0.weight") == 20.0
    assert set(decays.values()) == {0.01}
    assert set(decays) == {"features.0.bias", "features.1.weight", "features.1.bias", "classes.weight"}


def test_decay_makes_first_weights_small() -> None:
    vectors, labels = clusters(150, 0)
    norms = []
    for decay in (0.0, 20.0):
        made = layers(validation=0.0, dense_decay=decay)
        weights = training.train(made, vectors, labels, seed=0).weights["features.0.weight"]
        norms.append(float(np.linalg.norm(weights * vectors.std(axis=0))))
    assert norms[1] < 0.5 * norms[0]


def test_a_decay_that_turns_weights_around_is_refused() -> None:
    with pytest.raises(NetworkError, match=r"dense_decay 200 at learning_rate 0\.01 .* use less than 100"):
        Training.from_dict({"learning_rate": 0.01, "dense_decay": 200.0})


def test_balanced_weights_make_a_rare_class_count() -> None:
    vectors, labels = clusters(900, 0)
    chosen = np.flatnonzero((labels != 2) | (np.arange(900) % 60 == 2))
    shares = []
    for weights in ("equal", "balanced"):
        made = layers(class_weights=weights, epochs=3, validation=0.0, learning_rate=0.003)
        trained = training.train(made, vectors[chosen], labels[chosen], seed=0)
        test, truth = clusters(300, 2)
        shares.append(np.mean(inference.classify(made, trained.weights, test)[truth == 2] == 2))
    assert shares[1] > shares[0]


def test_the_folded_penalty_turns_off_every_second_class() -> None:
    vectors, labels = clusters(300, 0)
    made = layers(weight_bound=4.0, margin=2.0, validation=0.0)
    trained = training.train(made, vectors, labels, seed=0)
    model = transfer.energy_model(made, trained.weights, "energy", "folded")
    pull = -model.linear(features(restore(made, trained.weights), vectors))
    lam = float(trained.weights["folded.lam"][0])
    assert np.abs(pull - lam).max() == pytest.approx(2.0 * lam, rel=1e-4)
    second = np.sort(pull - lam, axis=1)[:, -2]
    assert np.mean(second < lam) >= 0.99
