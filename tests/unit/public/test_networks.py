"""Networks of the public package: their arrays agree with each other, with dimod, and with the queue's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from annealq import ImageError, Network, NetworkError, ParameterError, SolverError
from producer.networks import shipped
from schema.network.architecture import Architecture
from tests.trained import patterns

RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def digits() -> Network:
    return Network.load("digits")


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return RNG.integers(0, 17, (5, 8, 8)).astype(np.uint8)


@pytest.mark.parametrize("name", shipped.names())
def test_every_shipped_network_loads_and_classifies(name: str) -> None:
    network = Network.load(name)
    taken, _ = patterns(name, 3)
    assert network.shape == taken.shape[1:]
    assert network.features(taken).shape == (3, network.visible_units)
    assert network.classify(taken).tolist() == network.class_scores(taken).argmax(axis=1).tolist()
    np.testing.assert_allclose(network.probabilities(taken).sum(axis=1), 1.0)


@pytest.mark.parametrize("visible", ["sampled", "folded"])
def test_energies_are_those_of_q_and_of_dimod(digits: Network, images: np.ndarray, visible: str) -> None:
    image = images[0]
    Q = digits.q_matrix(image, visible=visible)
    bits = RNG.integers(0, 2, (20, len(Q))).astype(np.uint8)
    energies = digits.energies(image, bits, visible=visible)
    np.testing.assert_allclose(energies, np.einsum("ri,ij,rj->r", bits, Q, bits), atol=1e-9)
    bqm = digits.bqm(image, visible=visible)
    np.testing.assert_allclose(bqm.energies((bits, range(len(Q)))), energies, atol=1e-9)
    parts = np.diag(digits.linear(images, visible=visible)[0]) + digits.quadratic(visible=visible)
    np.testing.assert_allclose(parts, Q, atol=1e-5)  # features are float32, and differ with the batch


def test_exact_reads_have_the_networks_own_class(digits: Network) -> None:
    taken, _ = patterns("digits", 10)
    reads = digits.sample(taken, solver="exact", reads=200, seed=3)
    assert reads.shape == (10, 200, digits.units)
    scores = digits.read_scores(taken, reads)
    assert scores.argmax(axis=1).tolist() == digits.classify(taken).tolist()
    assert digits.sample(taken, solver="exact", reads=200, seed=3).tobytes() == reads.tobytes()


def test_it_is_the_same_after_it_was_saved(digits: Network, images: np.ndarray, tmp_path: Path) -> None:
    path = tmp_path / "mine.safetensors"
    assert digits.save(path) == tmp_path / "mine.json"
    again = Network.load(path)
    assert (again.name, again.classes, again.temperature) == (
        digits.name,
        digits.classes,
        digits.temperature,
    )
    np.testing.assert_array_equal(again.class_scores(images), digits.class_scores(images))


def test_it_is_made_of_layers_and_weights() -> None:
    layers = {"name": "two", "input": {"height": 1, "width": 2}, "classes": 2}
    weights = {"classes.weight": np.array([[1.0, -1.0], [-1.0, 1.0]], np.float32)}
    network = Network.from_weights(layers, weights, classes=["left", "right"])
    assert network.classes == ("left", "right")
    assert network.classify([[[255, 0]], [[0, 255]]]).tolist() == [0, 1]
    with pytest.raises(NetworkError, match=r"classes\.weight has shape \(2, 2\)"):
        Network.from_weights({**layers, "classes": 3}, weights)


@pytest.mark.parametrize(
    ("image", "problem"),
    [
        (np.zeros((2, 8, 8), np.uint8), "give one image with 2 axes"),
        (np.zeros((9, 8), np.uint8), "9 x 8 pixels"),
        (np.full((8, 8), 200, np.uint8), "takes 0 to 16"),
        (np.full((8, 8), np.nan), "NaN"),
    ],
)
def test_an_image_that_it_does_not_take_is_refused(digits: Network, image: np.ndarray, problem: str) -> None:
    with pytest.raises(ImageError, match=problem):
        digits.q_matrix(image)


def test_what_is_wrong_is_named(digits: Network, images: np.ndarray, tmp_path: Path) -> None:
    with pytest.raises(NetworkError, match=r"no network 'nothing': name one of .*digits"):
        Network.load("nothing")
    with pytest.raises(ParameterError, match="reads must be 0 or 1: convert spins"):
        digits.energies(images[0], np.full((1, digits.units), -1))
    with pytest.raises(ParameterError, match=rf"reads must be \(R, n\) with n = {digits.units}"):
        digits.energies(images[0], np.zeros((1, 3), np.uint8))
    with pytest.raises(ParameterError, match="does not work in this process"):
        digits.sample(images, solver="dwave")
    with pytest.raises(ParameterError, match="sweeps"):
        digits.sample(images, solver="exact", sweeps=5)
    with pytest.raises(ParameterError, match="sampled or folded"):
        digits.quadratic(visible="hidden")
    with pytest.raises(SolverError, match="unit"):
        Network.load("conv358").sample(np.zeros((1, 28, 28), np.uint8), solver="exact")
    (tmp_path / "bad.json").write_text("{}")
    (tmp_path / "bad.safetensors").write_bytes(b"\x80\x04.")
    with pytest.raises(NetworkError, match="bad"):
        Network.load(tmp_path / "bad.safetensors")


def test_a_network_of_a_backbone_and_pixels_takes_both_in_a_row() -> None:
    backbone = {
        "kind": "backbone", "sha256": "a" * 64, "size": 32, "values": 5, "mean": [1.0] * 3, "std": [1.0] * 3,
    }  # fmt: skip
    dense = {"kind": "dense", "units": 3, "activation": "tanh"}
    sources = [
        {"name": "seen", "dropout": 0.2, "features": [backbone, dense]},
        {"name": "pixels", "dropout": 0.2, "features": [{"kind": "max_pool", "size": 2}, dense]},
    ]
    layers = {
        "name": "both",
        "input": {"height": 4, "width": 6, "channels": 3},
        "classes": 2,
        "source": sources,
    }
    shapes = Architecture.from_dict(layers).shapes
    drawn = {name: RNG.normal(0, 1, shape).astype(np.float32) for name, shape in shapes.items()}
    network = Network.from_weights(layers, drawn)
    rows = np.concatenate([RNG.normal(0, 1, (4, 5)), RNG.integers(0, 256, (4, 72))], axis=1)
    assert network.shape == (5 + 4 * 6 * 3,)
    features = network.features(rows.astype(np.float32))
    other = rows.copy()
    other[:, 5:] = 0.0
    changed = network.features(other.astype(np.float32)) != features
    assert not changed[:, :3].any()
    assert changed[:, 3:].all()
