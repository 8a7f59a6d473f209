"""Training: it learns, it is repeatable, it stops when asked, and refuses what it cannot use."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from producer.reproduction import digits5x5
from schema.errors import ImageError, NetworkError
from schema.network.architecture import Architecture, preset
from worker.network import features, inference, training, transfer

Images = NDArray[np.uint8]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Arrays this small gain nothing from a second thread, and weights depend on how many there are."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def small(**plan: Any) -> Architecture:
    return Architecture.from_dict(
        {
            "name": "small",
            "input": {"height": 5, "width": 5, "image_max": 1},
            "classes": 5,
            "features": [{"kind": "dense", "units": 16, "activation": "tanh"}],
            "training": {"epochs": 60, "flips": True, "validation": 0.0, "patience": 60, **plan},
        }
    )


def ground_classes(architecture: Architecture, weights: Any, images: Images, rule: str) -> NDArray[np.int64]:
    """Class states (B, K) of the exact ground state; the visible units follow from the class units."""
    model = transfer.energy_model(architecture, weights, rule, "sampled")
    linear = model.linear(features.features(features.restore(architecture, weights), images))
    visible, classes = architecture.visible, architecture.classes
    states = (np.arange(2**classes)[:, np.newaxis] >> np.arange(classes)) & 1
    pull = states @ model.quadratic[:visible, visible:].T
    among = np.einsum("sk,kl,sl->s", states, model.quadratic[visible:, visible:], states)
    inside = np.minimum(linear[:, np.newaxis, :visible] + pull, 0).sum(axis=2)
    energies = inside + linear[:, visible:] @ states.T + among
    ground: NDArray[np.int64] = states[energies.argmin(axis=1)]
    return ground


def test_energy_training_survives_in_the_ground_state() -> None:
    architecture, images, labels = small(), digits5x5.images(), np.arange(5)
    trained = training.train(architecture, images, labels, "energy", seed=1)
    ground = ground_classes(architecture, trained.weights, images, "energy")
    assert np.array_equal(ground, np.eye(5))
    assert np.array_equal(inference.classify(architecture, trained.weights, images, "energy"), labels)
    largest = np.abs(trained.weights["classes.weight"]).max()
    assert largest <= architecture.training.weight_bound * architecture.alpha


def test_paper_training_keeps_its_folded_penalty() -> None:
    architecture, images, labels = small(), digits5x5.images(), np.arange(5)
    trained = training.train(architecture, images, labels, "paper", seed=1)
    logits = inference.scores(architecture, trained.weights, images, "paper")
    assert np.array_equal(logits.argmax(axis=1), labels)
    assert trained.weights["folded.lam"][0] == pytest.approx(np.abs(logits).max() / 2)
    folded = transfer.energy_model(architecture, trained.weights, "paper", "folded")
    linear = folded.linear(features.features(features.restore(architecture, trained.weights), images))
    np.testing.assert_allclose(-linear - trained.weights["folded.lam"][0], logits, atol=1e-5)


@pytest.mark.parametrize("rule", ["energy", "paper"])
def test_pooled_networks_learn(rule: str) -> None:
    base = preset("digits5x5")
    plan = base.training.replace(epochs=150, learning_rate=0.03, weight_bound=4.0, patience=150)
    architecture = base.replace(training=plan)
    images, labels = digits5x5.images(), np.arange(5)
    trained = training.train(architecture, images, labels, rule, seed=0)
    assert trained.metrics[-1].train_accuracy > trained.metrics[0].train_accuracy
    assert np.mean(inference.classify(architecture, trained.weights, images, rule) == labels) >= 0.8


def test_without_held_out_images_all_that_are_trained_on_choose_the_epoch() -> None:
    trained = training.train(small(epochs=2), digits5x5.images(), np.arange(5), seed=0)
    assert trained.quality.images == 5 + 5 * 25


def test_the_same_seed_gives_the_same_weights() -> None:
    images, labels = digits5x5.images(), np.arange(5)
    before = torch.get_rng_state()
    first, again, other = (
        training.train(small(shift=1), images, labels, epochs=3, seed=seed).weights for seed in (4, 4, 5)
    )
    assert all(np.array_equal(first[name], again[name]) for name in first)
    assert not np.array_equal(first["classes.weight"], other["classes.weight"])
    assert torch.equal(before, torch.get_rng_state())


def test_metrics_of_every_epoch_with_a_held_out_part() -> None:
    images, labels = training.join_flips(digits5x5.images(), np.arange(5), 1)
    seen: list[training.Epoch] = []
    architecture = small(validation=0.2, flips=False, patience=4, epochs=4)
    trained = training.train(architecture, images, labels, seed=0, on_epoch=seen.append)
    assert tuple(seen) == trained.metrics
    assert [metrics.epoch for metrics in seen] == [1, 2, 3, 4]
    assert all(0 <= (metrics.validation_accuracy or 0) <= 1 for metrics in seen)
    best = seen[trained.best_epoch - 1]
    highest = max(m.validation_accuracy or 0.0 for m in seen)
    held_out = len(images) // 5
    assert (best.validation_accuracy or 0.0) >= highest - held_out**-0.5


def test_patience_ends_training() -> None:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 2, (200, 5, 5)).astype(np.uint8)
    labels = rng.integers(0, 5, 200)
    architecture = small(validation=0.5, flips=False, patience=2, epochs=200)
    trained = training.train(architecture, images, labels, seed=0)
    assert trained.stopped == "patience"
    assert len(trained.metrics) == trained.best_epoch + 2


def test_stopping_when_asked_keeps_the_best_weights() -> None:
    images, labels = digits5x5.images(), np.arange(5)
    seen: list[training.Epoch] = []
    trained = training.train(
        small(), images, labels, seed=0, on_epoch=seen.append, should_stop=lambda: len(seen) == 3
    )
    assert trained.stopped == "asked"
    assert len(trained.metrics) == 3
    assert set(trained.weights) == {*small().shapes, "folded.lam"}
    at_once = training.train(small(), images, labels, seed=0, should_stop=lambda: True)
    assert at_once.metrics == ()
    assert set(at_once.weights) == {*small().shapes, "folded.lam"}


def test_normalisation_is_folded_into_plain_weights() -> None:
    """The best weights classify as the network did while it was trained."""
    images, labels = training.join_flips(digits5x5.images(), np.arange(5), 1)
    held_out = np.random.default_rng(0).permutation(len(images))[: len(images) // 5]
    architecture = small(validation=0.2, flips=False, epochs=8)
    trained = training.train(architecture, images, labels, seed=0)
    own = inference.classify(architecture, trained.weights, images[held_out])
    accuracy = np.mean(own == labels[held_out])
    assert trained.metrics[trained.best_epoch - 1].validation_accuracy == pytest.approx(accuracy)


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (np.zeros((3, 5, 5), np.uint8), np.array([0, 1]), r"3 images need labels \(3,\), not \(2,\)"),
        (
            np.zeros((2, 5, 5), np.uint8),
            np.array([0, 5]),
            r"must be from 0 to 4, not from 0 to 5",
        ),
        (np.zeros((2, 5, 5), np.uint8), np.array([-1, 0]), r"not from -1 to 0"),
        (np.zeros((2, 5, 5), np.uint8), np.array([0.0, 1.0]), r"labels must be whole numbers, not float64"),
        (np.zeros((2, 4, 5), np.uint8), np.array([0, 1]), r"takes images \(B, 5, 5\), not \(2, 4, 5\)"),
        (np.zeros((2, 5, 5), np.float32), np.array([0, 1]), r"small takes uint8, not float32"),
        (
            np.full((2, 5, 5), 9, np.uint8),
            np.array([0, 1]),
            r"a pixel is 9, but small takes values from 0",
        ),
        (np.zeros((1, 5, 5), np.uint8), np.array([0]), r"at least 2 images, not 1"),
        (np.zeros((0, 5, 5), np.uint8), np.array([], np.int64), r"at least 2 images, not 0"),
    ],
)
def test_data_that_do_not_fit(images: Any, labels: Any, message: str) -> None:
    with pytest.raises(ImageError, match=message):
        training.train(small(), images, labels)


def test_refused_transfers_and_seeds() -> None:
    images, labels = np.zeros((2, 28, 28), np.uint8), np.array([0, 1])
    with pytest.raises(NetworkError, match="transfer must be paper or energy"):
        training.train(preset("mnist"), images, labels, "other")
    with pytest.raises(NetworkError, match="seed must be from 0"):
        training.train(preset("mnist"), images, labels, seed=-1)


def test_deep_networks_train_classically() -> None:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (64, 28, 28)).astype(np.uint8)
    labels = np.arange(64) % 10
    architecture = preset("conv358")
    trained = training.train(architecture, images, labels, "paper", epochs=2)
    model = transfer.energy_model(architecture, trained.weights, "paper", "sampled")
    assert model.sizes == (196, 128, 24, 10)
    assert features.features(features.restore(architecture, trained.weights), images).shape == (64, 196)


@given(seed=st.integers(0, 2**32 - 1))
def test_flips_differ_in_one_pixel(seed: int) -> None:
    images = np.random.default_rng(seed).integers(0, 17, (2, 3, 4)).astype(np.uint8)
    joined, labels = training.join_flips(images, np.array([7, 8]), 16)
    assert joined.shape == (2 + 24, 3, 4)
    assert labels.tolist() == [7, 8] + [7] * 12 + [8] * 12
    for index, label in enumerate(labels[2:], start=2):
        original = images[label - 7].astype(int)
        changed = np.flatnonzero(joined[index] != original)
        flat = joined[index].reshape(-1).astype(int)
        assert set(changed) <= {(index - 2) % 12}
        assert flat[(index - 2) % 12] == 16 - original.reshape(-1)[(index - 2) % 12]


def test_moved_images_keep_a_centred_blob_and_vary() -> None:
    pixels = torch.zeros(64, 1, 9, 9)
    pixels[:, :, 3:6, 3:6] = 1.0
    torch.manual_seed(0)
    moved = training.move_images(pixels, 1)
    assert moved.shape == pixels.shape
    assert torch.equal(training.move_images(pixels, 0), pixels)
    # Nothing goes further than the bound, here two pixels from the blob with interpolation.
    assert float(moved[:, :, [0, 8], :].abs().max()) == 0.0
    assert float(moved.reshape(64, -1).std(dim=0).max()) > 0.0


def test_features_of_a_batch_and_of_single_images_agree() -> None:
    architecture, images = small(), digits5x5.images()
    weights = training.train(architecture, images, np.arange(5), epochs=2).weights
    whole = features.features(features.restore(architecture, weights), images)
    single = np.concatenate(
        [features.features(features.restore(architecture, weights), images[i : i + 1]) for i in range(5)]
    )
    np.testing.assert_allclose(whole, single, atol=1e-6)
    assert whole.dtype == np.float64
    assert np.abs(whole).max() <= architecture.alpha
    assert features.features(features.restore(architecture, weights), images[:0]).shape == (0, 16)


def test_after_refitting_weights_are_of_all_images_and_figures_of_held_out_ones() -> None:
    images, labels = training.join_flips(digits5x5.images(), np.arange(5), 1)
    plan: dict[str, Any] = {"validation": 0.2, "flips": False, "epochs": 6, "patience": 6}
    first = training.train(small(**plan), images, labels, seed=0)
    seen: list[training.Epoch] = []
    again = training.train(small(**plan, refit=True), images, labels, seed=0, on_epoch=seen.append)
    best = first.best_epoch
    assert (again.refit, first.refit) == (True, False)
    assert (again.best_epoch, again.quality, again.temperature) == (best, first.quality, first.temperature)
    assert [each.epoch for each in seen] == [*range(1, 7), *range(1, 7)]
    assert {each.epochs for each in seen} == {6}
    assert [each.refit for each in seen] == [False] * 6 + [True] * 6
    assert [each.validation_accuracy is None for each in seen] == [False] * 6 + [True] * 6
    assert not np.array_equal(again.weights["classes.weight"], first.weights["classes.weight"])


def test_a_refit_that_is_stopped_leaves_the_first_weights() -> None:
    images, labels = training.join_flips(digits5x5.images(), np.arange(5), 1)
    plan: dict[str, Any] = {"validation": 0.2, "flips": False, "epochs": 3}
    first = training.train(small(**plan), images, labels, seed=0)
    seen: list[training.Epoch] = []
    stopped = training.train(
        small(**plan, refit=True),
        images,
        labels,
        seed=0,
        on_epoch=seen.append,
        should_stop=lambda: len(seen) == 4,
    )
    assert (stopped.stopped, stopped.refit, len(seen)) == ("asked", False, 4)
    assert np.array_equal(stopped.weights["classes.weight"], first.weights["classes.weight"])
