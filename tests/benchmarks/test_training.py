"""Accuracy of trained networks: own, sampled by the local annealer, and on an emulated chip with all errors.

Architectures are those that `annealq networks new` writes, and nothing is chosen by test images. Rivals are
logistic regression on the same vectors, its penalty chosen by cross-validation on the training part, and the
same convolutions trained with softmax (transfer ``paper``).

Vectors are read from `ANNEALQ_BENCH_VECTORS`, .npz files with x_train, y_train, x_test and y_test, parted by
colons: features of a backbone for example.
"""

from __future__ import annotations

import gzip
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from producer.images.imageset import ImageSet
from producer.networks.starter import architecture_of, starter_text
from schema.network.architecture import Architecture, preset
from schema.parameters import Parameters, Visible
from tests.benchmarks.chip_reads import ChipSampler, chip_with, tiling_for
from tests.benchmarks.conftest import Record
from tests.conftest import data_file
from worker.annealers.simulated import SimulatedAnnealer
from worker.compute import consensus
from worker.network import inference, quality, training
from worker.network.trained import TrainedNetwork

pytestmark = [pytest.mark.bench, pytest.mark.slow, pytest.mark.timeout(7200)]

SEEDS = (0, 1, 2)
READS = 100
CHIP_IMAGES = 500  # of the test part, the first ones
VECTORS = [path for path in os.environ.get("ANNEALQ_BENCH_VECTORS", "").split(":") if path]
FASHION = Path("/usr/share/datasets/fashion-mnist")  # of the Debian package dataset-fashion-mnist
MEDICAL = ("breastmnist.npz", "pneumoniamnist.npz")

Labels = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Parts:
    """A data set: images or vectors, and labels, to train on and to test with."""

    name: str
    x: NDArray[Any]
    y: Labels
    x_test: NDArray[Any]
    y_test: Labels

    def starter(self) -> Architecture:
        """Return the layers that `networks new` writes for the training part."""
        return architecture_of(starter_text(ImageSet(self.name, self.x, self.y, None, None)))


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def read(path: Path) -> Parts:
    with np.load(path, allow_pickle=False) as arrays:
        labels = [arrays[f"y_{part}"].astype(np.int64).ravel() for part in ("train", "test")]
        x = [arrays[f"x_{part}"] for part in ("train", "test")]
    x = [part if part.dtype == np.uint8 else part.astype(np.float32) for part in x]
    return Parts(path.stem, x[0], labels[0], x[1], labels[1])


def fashion() -> Parts:
    if not FASHION.is_dir():
        pytest.skip("Fashion-MNIST is not installed: apt-get install dataset-fashion-mnist")

    def part(name: str) -> tuple[NDArray[np.uint8], Labels]:
        images = gzip.decompress((FASHION / f"{name}-images-idx3-ubyte.gz").read_bytes())
        labels = gzip.decompress((FASHION / f"{name}-labels-idx1-ubyte.gz").read_bytes())
        pixels = np.frombuffer(images, np.uint8, offset=16).reshape(-1, 28, 28)
        return pixels, np.frombuffer(labels, np.uint8, offset=8).astype(np.int64)

    return Parts("Fashion-MNIST", *part("train"), *part("t10k"))


def logistic_regression(parts: Parts) -> float:
    """Return the test accuracy of logistic regression on standardised vectors."""
    linear_model = pytest.importorskip("sklearn.linear_model")
    selection = pytest.importorskip("sklearn.model_selection")
    scale = pytest.importorskip("sklearn.preprocessing").StandardScaler().fit(parts.x)
    x, x_test = scale.transform(parts.x), scale.transform(parts.x_test)
    folds = selection.StratifiedKFold(5, shuffle=True, random_state=0)
    models = [linear_model.LogisticRegression(C=c, max_iter=500) for c in (1e-4, 1e-3, 3e-3, 1e-2, 1e-1, 1.0)]
    best = max(models, key=lambda each: selection.cross_val_score(each, x, parts.y, cv=folds).mean())
    return float(best.fit(x, parts.y).score(x_test, parts.y_test))


def trained(layers: Architecture, parts: Parts, seed: int, transfer: str = "energy") -> TrainedNetwork:
    return TrainedNetwork(
        layers, training.train(layers, parts.x, parts.y, transfer, seed=seed).weights, transfer
    )


def sampled(network: TrainedNetwork, x: NDArray[Any], y: Labels) -> float:
    """Return the accuracy of ``READS`` reads of the local annealer."""
    model = network.model(Visible.SAMPLED, None)
    reads = SimulatedAnnealer().sample(model, model.linear(network.features(x)), READS, seed=0)
    found = consensus.score(reads.bits[:, :, model.class_units], reads.energies)
    return float(np.mean(found.predicted == y))


def on_chip(networks: list[TrainedNetwork], x: NDArray[Any], y: Labels) -> list[float]:
    """Return the accuracy of ``READS`` reads of each of ``networks`` on the chip with all errors."""
    parameters, solver = Parameters(reads=READS, visible=Visible.SAMPLED), chip_with()
    tiling = tiling_for(networks[0], parameters, solver)
    shares = []
    for network in networks:
        reads = ChipSampler(network, parameters, solver, tiling).sample(x, READS)
        bits = np.unpackbits(reads.bits, axis=2, count=network.architecture.classes)
        shares.append(100 * float(np.mean(consensus.score(bits, reads.energies).predicted == y)))
    return shares


def own(network: TrainedNetwork, parts: Parts) -> quality.Quality:
    scores = inference.scores(network.architecture, network.weights, parts.x_test, network.transfer)
    return quality.quality(scores, parts.y_test, held_out=True, unbalanced=False)


@pytest.mark.parametrize("path", VECTORS, ids=lambda path: Path(path).stem)
def test_vectors_against_logistic_regression(path: str, record: Record) -> None:
    parts = read(Path(path))
    rival = logistic_regression(parts)
    networks = [trained(parts.starter(), parts, seed) for seed in SEEDS]
    name = f"{parts.name}, {len(parts.y):,} vectors, {networks[0].architecture.visible} visible units"
    record(f"{name}: logistic regression", 100 * rival, "%")
    record(f"{name}: own", *median([100 * own(each, parts).accuracy for each in networks]))
    local = [100 * sampled(each, parts.x_test, parts.y_test) for each in networks]
    record(f"{name}: sampled, {READS} reads", *median(local), goal=100 * rival - 0.5)
    x, y = parts.x_test[:CHIP_IMAGES], parts.y_test[:CHIP_IMAGES]
    least = 100 * float(np.mean([own_of(each, x, y) for each in networks])) - 1.0
    chip = on_chip(networks, x, y)
    record(f"{name}: on a chip, {len(y)} images (goal: own - 1)", *median(chip), goal=least)


@pytest.mark.parametrize("file", MEDICAL)
def test_convolutions_against_softmax(file: str, record: Record) -> None:
    parts = read(data_file(file))
    found: dict[str, list[quality.Quality]] = {}
    local = []
    for transfer in ("paper", "energy"):
        networks = [trained(parts.starter(), parts, seed, transfer) for seed in SEEDS]
        found[transfer] = [own(each, parts) for each in networks]
        if transfer == "energy":
            local = [100 * sampled(each, parts.x_test, parts.y_test) for each in networks]
    for measure, allowed in (("accuracy", 1.0), ("balanced_accuracy", None), ("auc", 1.0)):
        rival, ours = ([100 * float(getattr(each, measure)) for each in found[key]] for key in found)
        goal = None if allowed is None else float(np.median(rival)) - allowed
        record(f"{parts.name}: {measure}, softmax", *median(rival))
        record(f"{parts.name}: {measure}", *median(ours), goal=goal)
    record(f"{parts.name}: accuracy, sampled, {READS} reads", *median(local))


@pytest.mark.parametrize("units", [20, 40])
def test_fashion_mnist_with_the_layers_of_mnist(units: int, record: Record) -> None:
    parts = fashion()
    layers = preset("mnist")
    features = (*layers.features[:-1], layers.features[-1].replace(units=units))
    plan = layers.training.replace(epochs=10)
    layers = layers.replace(name="fashion", features=features, training=plan)
    networks = [trained(layers, parts, seed) for seed in SEEDS]
    shares = [100 * own(each, parts).accuracy for each in networks]
    record(f"Fashion-MNIST, {units} visible units: own", *median(shares), goal=90.0)
    local = [100 * sampled(each, parts.x_test, parts.y_test) for each in networks]
    goal = float(np.median(shares)) - 0.5
    record(f"Fashion-MNIST, {units} visible units: sampled, {READS} reads", *median(local), goal=goal)


@pytest.mark.parametrize("path", VECTORS, ids=lambda path: Path(path).stem)
def test_visible_units_by_validation(path: str, record: Record) -> None:
    """A fifth of the training part judges: the test part has no say in the default."""
    parts = read(Path(path))
    selection = pytest.importorskip("sklearn.model_selection")
    folds = list(selection.StratifiedKFold(5, shuffle=True, random_state=1).split(parts.y, parts.y))
    for units in (10, 20, 40):
        values = []
        for seed, (train, judge) in enumerate(folds):
            inner = replace(parts, x=parts.x[train], y=parts.y[train])
            layers = inner.starter()
            features = (*layers.features[:-1], layers.features[-1].replace(units=units))
            network = trained(layers.replace(features=features), inner, seed)
            values.append(100 * sampled(network, parts.x[judge], parts.y[judge]))
        record(f"{parts.name}, {units} visible units: sampled, validation", float(np.mean(values)), "%")


def own_of(network: TrainedNetwork, x: NDArray[Any], y: Labels) -> float:
    predicted = inference.classify(network.architecture, network.weights, x, network.transfer)
    return float(np.mean(predicted == y))


def median(values: list[float]) -> tuple[float, str]:
    return float(np.median(values)), "%"
