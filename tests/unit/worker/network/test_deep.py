"""Scores of networks with hidden units, against every state of the energy that is sampled."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from schema.errors import NetworkError
from schema.network.architecture import Architecture, preset
from schema.network.weights import THRESHOLD, check
from worker.annealers.simulated import SimulatedAnnealer
from worker.network import features, inference, training, transfer
from worker.network.deep import DeepEnergy, energy_layers
from worker.network.errors import Errors
from worker.network.features import restore
from worker.network.layers import NetworkModule, Tone

BETA, LAM = 4.0, 1.5
DEEP: dict[str, Any] = {
    "name": "deep",
    "input": {"height": 3, "width": 3},
    "classes": 3,
    "alpha": 2.0,
    "energy": [{"kind": "conv", "filters": 2, "kernel": 2, "stride": 1}, {"kind": "dense", "units": 3}],
    "training": {"lam": LAM, "beta": BETA},
}
WIDE: dict[str, Any] = {**DEEP, "energy": [{"kind": "dense", "units": 5}]}
IMAGES = 12


def drawn_weights(architecture: Architecture, seed: int) -> dict[str, NDArray[np.float32]]:
    rng = np.random.default_rng(seed)
    return {name: rng.normal(0, 1, shape).astype(np.float32) for name, shape in architecture.shapes.items()}


def some_pixels(seed: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).random((IMAGES, 1, 3, 3)))


def deep_energy(network: NetworkModule, pixels: torch.Tensor) -> DeepEnergy:
    return energy_layers(network, network.visible(pixels), BETA, LAM)


def bits(count: int) -> NDArray[np.uint8]:
    return np.array(list(itertools.product((0, 1), repeat=count)), dtype=np.uint8)


def exhaustive(
    described: dict[str, Any], seed: int, *, free: bool, images: int = IMAGES
) -> tuple[NDArray[Any], NDArray[Any]]:
    """The scores found (B, K) of the first images, and the best there are: every state of Q is looked at."""
    architecture = Architecture.from_dict(described)
    weights = drawn_weights(architecture, seed)
    network = restore(architecture, weights).double()
    pixels = some_pixels(seed)[:images]
    with torch.no_grad():
        values = network.visible(pixels).numpy()
        found = deep_energy(network, pixels).scores(torch.eye(3).double().unsqueeze(0), free=free).numpy()
    model = transfer.energy_model(architecture, weights, "energy", "sampled")
    summed, rest = model.sizes[1], sum(model.sizes[2:-1])
    best = np.empty_like(found)
    for image, class_unit in itertools.product(range(len(values)), range(3)):
        known = (values[image] > 0).astype(np.uint8)
        visible = bits(9) if free else known[np.newaxis]
        parts = [visible, bits(summed), bits(rest) if rest else np.zeros((1, 0), np.uint8)]
        index = np.indices([len(part) for part in parts]).reshape(3, -1)
        one_hot = np.tile(np.eye(3, dtype=np.uint8)[class_unit], (index.shape[1], 1))
        states = np.hstack([*(part[row] for part, row in zip(parts, index, strict=True)), one_hot])
        energies = model.energies(model.linear(values[image : image + 1]), states[np.newaxis])[0]
        cube = -BETA * energies.reshape([len(part) for part in parts])
        top = cube.max(axis=1, keepdims=True)
        free_energy = (top[:, 0] + np.log(np.exp(cube - top).sum(axis=1))) / BETA
        best[image, class_unit] = free_energy.max() - values[image] @ known
    return found, best


@pytest.mark.parametrize("described", [DEEP, WIDE], ids=["conv and dense", "dense"])
@pytest.mark.parametrize("seed", range(3))
def test_scores_with_visible_units_known_are_the_best_there_are(described: dict[str, Any], seed: int) -> None:
    found, best = exhaustive(described, seed, free=False)
    assert (found <= best + 1e-6).all()
    assert np.isclose(found, best, atol=1e-6).mean() >= 0.75


@pytest.mark.parametrize("seed", range(2))
def test_scores_with_visible_units_free_are_nearly_the_best_there_are(seed: int) -> None:
    fixed, _ = exhaustive(DEEP, seed, free=False, images=5)
    found, best = exhaustive(DEEP, seed, free=True, images=5)  # of a million states for each class
    assert (found <= best + 1e-6).all()
    assert (found >= fixed - 1e-6).mean() >= 0.9
    assert np.isclose(found, best, atol=1e-6).mean() >= 0.6


def test_gradients_are_those_of_the_score() -> None:
    """With the found units held, a small step along the gradient changes the score by as much as it says."""
    network = restore(Architecture.from_dict(DEEP), drawn_weights(Architecture.from_dict(DEEP), 5)).double()
    pixels, one = some_pixels(5), torch.eye(3).double().unsqueeze(0)
    weight = network.classes.weight
    score = deep_energy(network, pixels).scores(one, free=True).sum()
    score.backward()
    assert weight.grad is not None
    step = 1e-5 * torch.sign(weight.grad)
    with torch.no_grad():
        weight += step
        moved = deep_energy(network, pixels).scores(one, free=True).sum()
    assert float(moved - score.detach()) == pytest.approx(float((weight.grad * step).sum()), rel=1e-2)


def test_noise_is_drawn_anew_and_leaves_the_network_alone() -> None:
    architecture = Architecture.from_dict(DEEP)
    network = restore(architecture, drawn_weights(architecture, 1)).double()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    one = torch.eye(3).double().unsqueeze(0)
    visible = network.visible(some_pixels(1))
    clean = energy_layers(network, visible, BETA, LAM).scores(one, free=False)
    errors = Errors(share=0.05)
    noisy = [energy_layers(network, visible, BETA, LAM, errors).scores(one, free=False) for _ in range(2)]
    assert not torch.equal(noisy[0], noisy[1])
    assert 0.0 < float((noisy[0] - clean).abs().mean().detach()) < 3.0
    assert all(torch.equal(value, network.state_dict()[name]) for name, value in before.items())


def test_a_threshold_moves_where_features_change_their_sign() -> None:
    values = torch.linspace(0, 1, 101).unsqueeze(0)
    toned = Tone(0.25)(values)
    assert torch.all(toned[:, 1:] > toned[:, :-1])
    assert toned[0, [0, 25, 100]].tolist() == pytest.approx([0.0, 0.5, 1.0])
    torch.testing.assert_close(Tone(0.5)(values), values)


def test_a_threshold_outside_of_the_pixels_is_refused() -> None:
    architecture = Architecture.from_dict(DEEP)
    weights = drawn_weights(architecture, 0)
    check({**weights, THRESHOLD: np.array([0.3], np.float32)}, architecture)
    with pytest.raises(NetworkError, match=THRESHOLD):
        check({**weights, THRESHOLD: np.array([1.5], np.float32)}, architecture)


def bars(count: int, seed: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """8 x 8 images of one bar among specks: lying high, lying low, standing, none."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 4, count)
    images = rng.integers(0, 40, (count, 8, 8)).astype(np.uint8)
    for image, label in zip(images, labels, strict=True):
        place = int(rng.integers(0, 4))
        if label == 0:
            image[place] = 220
        elif label == 1:
            image[4 + place] = 220
        elif label == 2:
            image[:, 2 * place] = 220
    return images, labels


@pytest.mark.slow
def test_what_a_deep_network_learns_is_what_is_sampled() -> None:
    described = {
        **DEEP,
        "input": {"height": 8, "width": 8},
        "classes": 4,
        "alpha": 6.0,
        "energy": [{"kind": "conv", "filters": 4, "kernel": 4, "stride": 4}, {"kind": "dense", "units": 8}],
        "training": {
            "epochs": 30,
            "patience": 30,
            "batch_size": 50,
            "learning_rate": 0.02,
            "weight_bound": 0.5,
            "lam": 4.0,
            "margin": 0.0,
            "threshold": 0.3,
            "validation": 0.0,
        },
    }
    architecture = Architecture.from_dict(described)
    trained = training.train(architecture, *bars(800, 0), "energy", seed=1)
    assert THRESHOLD in trained.weights
    images, labels = bars(100, 1)
    own = inference.classify(architecture, trained.weights, images)
    assert (own == labels).mean() >= 0.9
    model = transfer.energy_model(architecture, trained.weights, "energy", "sampled")
    linear = model.linear(features.features(features.restore(architecture, trained.weights), images))
    reads = SimulatedAnnealer(sweeps=100).sample(model, linear, reads=30, seed=0)
    lowest = reads.energies.argmin(axis=1)
    classes = reads.bits[np.arange(100), lowest][:, model.class_units]
    assert (classes.sum(axis=1) == 1).mean() >= 0.95
    assert (classes.argmax(axis=1) == labels).mean() >= (own == labels).mean() - 0.08


def test_the_preset_is_trained_as_it_is_sampled() -> None:
    rng = np.random.default_rng(0)
    images, labels = rng.integers(0, 256, (40, 28, 28), dtype=np.uint8), rng.integers(0, 10, 40)
    trained = training.train(preset("conv358"), images, labels, "energy", epochs=2, seed=0)
    again = training.train(preset("conv358"), images, labels, "energy", epochs=2, seed=0)
    assert all(np.array_equal(value, again.weights[name]) for name, value in trained.weights.items())
    bound = preset("conv358").training.weight_bound * preset("conv358").alpha
    for name, value in trained.weights.items():
        assert not name.endswith("weight") or np.abs(value).max() <= bound + 1e-6
