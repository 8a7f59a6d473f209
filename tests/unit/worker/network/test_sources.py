"""Several sources in one energy: leaving one out is h = 0, and what each adds is measured without it."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from schema.errors import ImageError, NetworkError
from schema.network import weights
from schema.network.architecture import FOLDED_LAM, FOLDED_LAM_WITHOUT, Architecture
from worker.network import training
from worker.network.features import features, join_inputs
from worker.network.inference import scores
from worker.network.layers import NetworkModule, SourceDropout
from worker.network.objective import scores_of_features
from worker.network.stacks import ColourHistogram
from worker.network.trained import TrainedNetwork

DENSE = {"kind": "dense", "units": 6, "activation": "tanh"}
CLASSES = 3


def layers(dropout: float = 0.3, names: tuple[str, str] = ("left", "right"), **changes: Any) -> Architecture:
    """Sources on the first four and the last two of six values."""
    columns = ([0, 3], [4, 5])
    parts = zip(names, columns, strict=True)
    sources = [{"name": n, "columns": c, "dropout": dropout, "features": [DENSE]} for n, c in parts]
    plan = {"epochs": 12, "batch_size": 32, "learning_rate": 0.02, "margin": 2.0, "validation": 0.25}
    given = {"name": "two", "input": {"kind": "vector", "values": 6}, "classes": CLASSES, "training": plan}
    return Architecture.from_dict({**given, "source": sources, **changes})


def vectors(count: int = 240, seed: int = 0) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Class 2 differs on the left alone, class 0 from class 1 on the right alone; of very different sizes."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % CLASSES
    values = rng.normal(0, 1, (count, 6))
    values[:, :4] += 4.0 * (labels == 2)[:, np.newaxis]
    values[:, 4:] += 4.0 * (labels == 1)[:, np.newaxis]
    return (values * [1, 10, 100, 1000, 0.01, 0.1] + 50).astype(np.float32), labels


@pytest.fixture(scope="module")
def network() -> TrainedNetwork:
    architecture = layers()
    trained = training.train(architecture, *vectors())
    stored = weights.decode(weights.encode(trained.weights, architecture), architecture)
    return TrainedNetwork(architecture, stored, "energy")


@pytest.mark.parametrize("visible", ["sampled", "folded"])
def test_a_source_is_left_out_by_h_0(network: TrainedNetwork, visible: str) -> None:
    images, _ = vectors(20, seed=1)
    without = network.leaving_out(("right",))
    features = network.features(images)
    features[:, network.architecture.blocks["right"]] = 0.0
    np.testing.assert_array_equal(without.features(images), features)
    model = without.model(visible, 1.0)
    whole = network.model(visible, 1.0)
    np.testing.assert_array_equal(model.linear(without.features(images)), whole.linear(features))
    if visible == "sampled":
        q = model.q_matrix(without.features(images)[0])
        np.testing.assert_array_equal(q, whole.q_matrix(features[0]))
        np.testing.assert_array_equal(np.diag(q)[network.architecture.blocks["right"]], 0.0)
    assert model.graph_digest == whole.graph_digest  # the embedding is the same


def test_own_scores_without_a_source_are_those_of_h_0(network: TrainedNetwork) -> None:
    images, _ = vectors(20, seed=1)
    known = (network.architecture, network.weights, images, "energy")
    features = network.leaving_out(["left"]).features(images)
    expected = scores_of_features(network.module, features, "energy")
    np.testing.assert_allclose(scores(*known, ("left",)), expected, atol=1e-5)
    assert np.abs(scores(*known) - scores(*known, ("left",))).max() > 0.1


def test_each_source_sees_its_columns_alone(network: TrainedNetwork) -> None:
    images, _ = vectors(5)
    changed = images.copy()
    changed[:, 4:] += 1000.0
    left, right = network.architecture.blocks.values()
    before, after = network.features(images), network.features(changed)
    np.testing.assert_array_equal(before[:, left], after[:, left])
    assert (before[:, right] != after[:, right]).any()


def test_a_left_out_source_is_named_once_and_must_exist(network: TrainedNetwork) -> None:
    assert network.leaving_out(None) is network
    assert network.leaving_out(["left"]) is network.leaving_out(("left",))
    with pytest.raises(NetworkError, match="network 'two' has no source 'top'"):
        network.leaving_out(("top",))


def test_what_each_source_adds_is_measured_on_held_out_images() -> None:
    trained = training.train(layers(), *vectors())
    table = trained.to_dict()["sources"]
    assert (table["images"], table["held_out"]) == (60, True)
    assert table["all"] == trained.quality.accuracy > 0.9
    left, right = table["rows"]
    # One source tells one class from the other two: two thirds are right, by design of the vectors.
    for row, other in ((left, right), (right, left)):
        assert 0.5 < row["without"] < 0.8
        assert row["without"] == other["alone"]
    assert left["visible"] == 6


def test_without_source_dropout_nothing_is_said_of_leaving_it_out() -> None:
    trained = training.train(layers(0.0), *vectors())
    assert [(row["without"], row["alone"]) for row in trained.to_dict()["sources"]["rows"]] == [
        (None, None)
    ] * 2
    assert FOLDED_LAM_WITHOUT not in trained.weights
    assert "sources" not in training.train(layers(source=[], features=[DENSE]), *vectors()).to_dict()


def test_the_folded_penalty_holds_with_any_source_left_out(network: TrainedNetwork) -> None:
    images, labels = vectors()
    kept = training.train(layers(training={**layers().training.to_dict(), "validation": 0.0}), images, labels)
    whole = TrainedNetwork(layers(), kept.weights, "energy")
    pulls = {}
    for names in ((), ("left",), ("right",)):
        values = whole.leaving_out(names).features(images) / 2 + 0.5
        pulls[names] = np.abs(values @ kept.weights["classes.weight"].T).max() / 2
    assert kept.weights[FOLDED_LAM][0] == pytest.approx(pulls[()], rel=1e-5)
    expected = max(pulls["left",], pulls["right",])
    assert kept.weights[FOLDED_LAM_WITHOUT][0] == pytest.approx(expected, rel=1e-5)
    lam = -whole.leaving_out(["left"]).model("folded", None).bias  # of a class unit, apart from the fold
    assert lam.max() >= expected - np.abs(kept.weights["classes.weight"]).sum()


def test_sources_may_be_called_as_torch_calls_its_own() -> None:
    architecture = layers(names=("type", "float"))
    trained = training.train(architecture, *vectors(60), epochs=1)
    assert {"sources.type.0.weight", "sources.float.0.bias"} < set(trained.weights)
    network = TrainedNetwork(architecture, trained.weights, "energy")
    assert np.isfinite(network.features(vectors(5)[0])).all()


def test_dropout_leaves_each_image_a_source() -> None:
    torch.manual_seed(0)
    dropout = SourceDropout([0.9, 0.9, 0.0], [2, 3, 1])
    out = dropout(torch.ones(4_000, 6))
    assert set(out.unique().tolist()) == {0.5, 1.0}
    for block in (slice(0, 2), slice(2, 5)):  # a source is there as a whole or not at all
        assert (out[:, block] == out[:, block][:, :1]).all()
        assert abs(float((out[:, block] == 0.5).float().mean()) - 0.9) < 0.03
    assert (out[:, 5] == 1.0).all()
    both = SourceDropout([0.9, 0.9], [1, 1])(torch.ones(4_000, 2))
    assert (both == 1.0).any(dim=1).all()


@pytest.mark.parametrize("channels", [1, 3])
def test_a_histogram_counts_pixels_by_colour(channels: int) -> None:
    images = np.random.default_rng(0).integers(0, 256, (3, channels, 5, 7), dtype=np.uint8)
    images[0] = 255
    found = ColourHistogram(4)(torch.from_numpy(images).float() / 255).numpy()
    for image, row in zip(images, found, strict=True):
        steps = np.minimum(np.floor(image / 255 * 4), 3).reshape(channels, -1).T
        for place, wanted in enumerate(product(range(4), repeat=channels)):
            share = (steps == wanted).all(axis=1).mean()
            assert row[place] == pytest.approx(share, abs=1e-6)


def test_a_histogram_of_colours_is_learnt_beside_the_pixels() -> None:
    rng = np.random.default_rng(3)
    labels = np.arange(120) % 2
    images = rng.integers(0, 100, (120, 6, 6, 3), dtype=np.uint8)
    images[labels == 1, ..., 0] += 150  # red
    sources = [
        {"name": "pixels", "features": [DENSE], "dropout": 0.3},
        {"name": "colour", "features": [{"kind": "histogram", "bins": 2}, DENSE], "dropout": 0.3},
    ]
    size = {"height": 6, "width": 6, "channels": 3}
    architecture = layers(input=size, classes=2, source=sources)
    trained = training.train(architecture, images, labels)
    assert trained.to_dict()["sources"]["rows"][1]["alone"] == 1.0
    own = scores(architecture, trained.weights, images, "energy", ("pixels",)).argmax(axis=1)
    assert (own == labels).all()


def test_sources_see_their_part_of_joined_values() -> None:
    """The vectors and the pixels of a row give what vectors alone and pixels alone give."""
    rng = np.random.default_rng(0)
    backbone = {
        "kind": "backbone", "sha256": "a" * 64, "size": 32, "values": 5, "mean": [1.0] * 3, "std": [1.0] * 3,
    }  # fmt: skip
    conv = [{"kind": "conv", "filters": 2, "kernel": 3, "activation": "tanh"}]
    image = {"height": 8, "width": 12, "channels": 3, "average": 2}
    given = {"name": "joined", "classes": CLASSES}
    sources = [{"name": "a", "features": [backbone, DENSE]}, {"name": "b", "features": conv}]
    both = Architecture.from_dict({**given, "input": image, "source": sources})
    pixels = Architecture.from_dict({**given, "input": image, "features": conv})
    vector = Architecture.from_dict({**given, "input": {"kind": "vector", "values": 5}, "features": [DENSE]})
    networks = [NetworkModule(each).eval() for each in (vector, pixels)]
    joined = NetworkModule(both).eval()
    state = joined.state_dict()
    for prefix, network in zip(("sources.a", "sources.b"), networks, strict=True):
        own = {k.replace("features", prefix): v for k, v in network.state_dict().items() if "features" in k}
        assert set(own) <= set(state)
        state |= own
    joined.load_state_dict(state)

    images = rng.integers(0, 256, (6, 8, 12, 3), dtype=np.uint8)
    vectors = rng.normal(0, 3, (6, 5)).astype(np.float16)
    found = features(joined, join_inputs([vectors], images))
    alone = [features(networks[0], vectors.astype(np.float32)), features(networks[1], images)]
    np.testing.assert_allclose(found, np.concatenate(alone, axis=1), atol=1e-6)
    with pytest.raises(ImageError, match="joined takes 293 joined values"):
        features(joined, images)
