"""Coverage and sizes of sets of classes on an emulated chip with all errors, and the calibration error.

2,000 test images are sampled once on the chip that is calibrated, and once on chips with two and three times
its errors; then they are split 200 times into halves to calibrate with and to test.
"""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from producer.networks import shipped
from schema.network import weights
from schema.network.reliability import LossSums
from schema.network.temperature import temperature_of
from schema.parameters import Parameters, Visible
from tests.benchmarks.chip_reads import ChipSampler, chip_with, tiling_for
from tests.benchmarks.conftest import Record
from tests.conftest import data_file
from worker.compute.certainty import class_sets
from worker.compute.certainty.gaps import class_energies, lowest_reads
from worker.compute.certainty.probabilities import probabilities
from worker.network.inference import scores_of_features
from worker.network.trained import TrainedNetwork
from worker.qubo.class_states import class_minima

pytestmark = [pytest.mark.bench, pytest.mark.timeout(1800)]

FloatArray = NDArray[np.float64]
IMAGES, SPLITS = 2_000, 200
WORSE = (2.0, 3.0)  # times the errors that were calibrated with
PARAMETERS = Parameters(reads=20, visible=Visible.SAMPLED)


@pytest.fixture(scope="module")
def network() -> TrainedNetwork:
    bundle = shipped.load("mnist")
    architecture = bundle.description.architecture
    return TrainedNetwork(architecture, weights.decode(bundle.data, architecture), "energy")


@pytest.fixture(scope="module")
def images() -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    with np.load(data_file("mnist_test.npz"), allow_pickle=False) as arrays:
        return arrays["images"], arrays["labels"].astype(np.int64)


def energies_on(network: TrainedNetwork, pixels: NDArray[np.uint8], times: float) -> FloatArray:
    """Return the class energies (B, K) of images read on a chip with ``times`` its published errors."""
    chip = chip_with(times)
    sampler = ChipSampler(network, PARAMETERS, chip, tiling_for(network, PARAMETERS, chip))
    reads = sampler.sample(pixels, PARAMETERS.reads)
    bits = np.unpackbits(reads.bits, axis=2)[:, :, : network.architecture.classes]
    model = network.model(PARAMETERS.visible, PARAMETERS.lam)
    minima = class_minima(model, model.linear(network.features(pixels)))
    return class_energies(lowest_reads(bits, reads.energies), minima)


def resplit(
    calibrated: FloatArray, tested: FloatArray, labels: NDArray[np.int64], level: float
) -> FloatArray:
    """Return means over splits: coverage as computed, then coverage and size with no set empty."""
    rng, found = np.random.default_rng(0), []
    for seed in range(SPLITS):
        order = rng.permutation(len(labels))
        past, now = order[: len(order) // 2], order[len(order) // 2 :]
        scores = class_sets.of_labels(calibrated[past], labels[past])
        fitted = class_sets.fit(scores, labels[past], calibrated.shape[1], level)
        sets = class_sets.choose(tested[now], fitted, class_sets.random_numbers(seed, now))
        winners = tested[now].argmin(axis=1).astype(np.int16)
        filled = class_sets.fill_empty(sets, tested[now], winners)
        rows = np.arange(len(now)), labels[now]
        found.append((sets[rows].mean(), filled[rows].mean(), filled.sum(axis=1).mean()))
    return np.asarray(np.mean(found, axis=0))


def test_coverage(
    record: Record, network: TrainedNetwork, images: tuple[NDArray[np.uint8], NDArray[np.int64]]
) -> None:
    pixels, labels = images[0][:IMAGES], images[1][:IMAGES]
    usual, *noisy = (energies_on(network, pixels, times) for times in (1.0, *WORSE))
    for level in (0.9, 0.95, 0.99):
        exact, covered, size = resplit(usual, usual, labels, level)
        name = f"sets at {level:.0%}, `mnist` sampled, 20 reads"
        record(f"{name}: coverage off by", 100.0 * abs(exact - level), "points", 1.0, at_least=False)
        record(f"{name}: coverage with empty ones filled", 100.0 * covered, "%", 100.0 * level - 1.0)
        record(f"{name}: mean size", size, "classes", 1.02, at_least=False)
        for times, energies in zip(WORSE, noisy, strict=True):
            exact, covered, size = resplit(usual, energies, labels, level)
            worse = f"{name}, {times:g} x the errors"
            record(f"{worse}: coverage off by", 100.0 * abs(exact - level), "points", 1.0, at_least=False)
            record(f"{worse}: coverage with empty ones filled", 100.0 * covered, "%", 100.0 * level - 1.0)
            record(f"{worse}: mean size", size, "classes")


def test_calibration_error(
    record: Record, network: TrainedNetwork, images: tuple[NDArray[np.uint8], NDArray[np.int64]]
) -> None:
    temperature = temperature_of(shipped.load("mnist").description.metrics)
    shares = probabilities(scores_of_features(network, network.features(images[0])), temperature)
    sums = LossSums()
    sums.add(shares, images[1], shares.argmax(axis=1))
    losses = sums.losses()
    assert losses is not None
    error = losses.calibration_error or 0.0
    record("ECE of `mnist`, 10,000 test images", 100.0 * error, "%", 0.7, at_least=False)
    record("its negative log-likelihood", losses.negative_log_likelihood, "")
    record("its Brier score", losses.brier_score, "")
