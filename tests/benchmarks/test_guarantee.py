"""Coverage and sizes of sets of classes on an emulated chip with all errors, and the calibration error.

2,000 test images are sampled once on the chip that is calibrated, and once on chips with two and three times
its errors; then they are split 200 times into halves to calibrate with and to test.

With rounds, one half of 1,000 images is a run whose images with sets of several classes are read again, on
other tiles and in problems with errors of their own; the other half is followed through the same limits by
the reads of the calibration.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray

from producer.networks import shipped
from schema.codecs.nonconformity import ReadOutcome, ReadsHad, after_rounds
from schema.network import weights
from schema.network.reliability import LossSums
from schema.network.temperature import temperature_of
from schema.parameters import Parameters, Round, Visible
from tests.benchmarks.chip_reads import ChipSampler, ImageReads, chip_with, tiling_for
from tests.benchmarks.conftest import Record
from tests.conftest import data_file
from worker.compute.certainty import class_sets
from worker.compute.certainty.gaps import class_energies, energy_gaps, lowest_reads
from worker.network.objective import scores_of_features
from worker.network.temperature import probabilities
from worker.network.trained import TrainedNetwork
from worker.qubo.class_states import class_minima
from worker.rounds.selection import reached, select_images

pytestmark = [pytest.mark.bench, pytest.mark.slow, pytest.mark.timeout(1800)]

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


@dataclass(frozen=True, eq=False)
class Sampled:
    """Lowest energies (T, B, K) that the first reads of a calibration, and those of a run, have found.

    Those of the run are of a first round, and of a first and a later one; ``minima`` (B, K) are exact.
    """

    calibration: FloatArray
    run: FloatArray
    minima: FloatArray
    labels: NDArray[np.int64]

    def energies(self, lowest: FloatArray) -> FloatArray:
        return class_energies(lowest, np.broadcast_to(self.minima, lowest.shape))

    def outcomes(self, images: NDArray[np.int64]) -> dict[int, ReadOutcome]:
        found = {}
        for total, lowest in zip((FIRST, FIRST + LATER), self.calibration, strict=True):
            energies = self.energies(lowest)[images]
            scores = class_sets.of_labels(energies, self.labels[images])
            found[total] = ReadOutcome(scores, gaps_of(energies))
        return found


FIRST, LATER = 5, 95
IN_ROUNDS = 1_000


def gaps_of(energies: FloatArray) -> FloatArray:
    return energy_gaps(energies, energies.argmin(axis=1).astype(np.int16))


def lowest_of(reads: ImageReads, classes: int) -> FloatArray:
    return lowest_reads(np.unpackbits(reads.bits, axis=2)[:, :, :classes], reads.energies)


def sample_rounds(sampler: ChipSampler, pixels: NDArray[np.uint8], labels: NDArray[np.int64]) -> Sampled:
    """Sample images as a calibration does, and as a run that reads all of them in both rounds."""
    classes, half = sampler.network.architecture.classes, sampler.tiles // 2
    reads = sampler.sample(pixels, FIRST + LATER)
    first = sampler.sample(pixels, FIRST, seed=1, number=1_000, first_tile=half)
    later = sampler.sample(pixels, LATER, seed=2, number=2_000, first_tile=half + 1)
    part = ImageReads(reads.bits[:, :FIRST], reads.energies[:, :FIRST])
    calibration = np.stack([lowest_of(part, classes), lowest_of(reads, classes)])
    run = lowest_of(first, classes)
    both = np.minimum(run, lowest_of(later, classes))
    model = sampler.program.model
    minima = class_minima(model, model.linear(sampler.network.features(pixels)))
    assert minima is not None
    return Sampled(calibration, np.stack([run, both]), minima, labels)


def classify_in_rounds(
    sampled: Sampled, tiles: int, level: float, share: float, seed: int, rng: np.random.Generator
) -> tuple[float, ...]:
    """Return coverage as computed and with no set empty, sizes before and after, and the share read again."""
    order = rng.permutation(len(sampled.labels))
    past, now = order[: len(order) // 2], order[len(order) // 2 :]
    outcomes, labels = sampled.outcomes(past), sampled.labels[now]
    classes, images = sampled.minima.shape[1], np.arange(len(now))
    numbers = class_sets.random_numbers(seed, images)
    run = sampled.energies(sampled.run)[:, now]

    def sets_of(had: ReadsHad, energies: FloatArray) -> tuple[NDArray[np.bool_], float]:
        scores = after_rounds(outcomes, had).scores
        fitted = class_sets.fit(scores, sampled.labels[past], classes, level)
        return class_sets.choose(energies, fitted, numbers), class_sets.limit_of(fitted)

    def filled(sets: NDArray[np.bool_], energies: FloatArray) -> NDArray[np.bool_]:
        return class_sets.fill_empty(sets, energies, energies.argmin(axis=1).astype(np.int16))

    before, limit = sets_of(ReadsHad(FIRST), run[0])
    gaps = gaps_of(run[0])
    wanted = Round(LATER, np.nextafter(limit, np.inf), share)
    is_read = np.isin(images, select_images(images, gaps, wanted, len(now), tiles).images)
    energies = np.where(is_read[:, None], run[1], run[0])
    sets, _ = sets_of(ReadsHad(FIRST, ((LATER, reached(gaps, is_read, 0.0)),)), energies)
    given = filled(sets, energies)
    return (
        sets[images, labels].mean(),
        given[images, labels].mean(),
        filled(before, run[0]).sum(axis=1).mean(),
        given.sum(axis=1).mean(),
        is_read.mean(),
    )


def test_coverage_of_images_that_are_read_again(
    record: Record, network: TrainedNetwork, images: tuple[NDArray[np.uint8], NDArray[np.int64]]
) -> None:
    chip = chip_with()
    sampler = ChipSampler(network, PARAMETERS, chip, tiling_for(network, PARAMETERS, chip))
    sampled = sample_rounds(sampler, images[0][:IN_ROUNDS], images[1][:IN_ROUNDS])
    for level in (0.9, 0.95, 0.99):
        for share in (1.0, 0.02):
            rng = np.random.default_rng(0)
            found = [
                classify_in_rounds(sampled, sampler.tiles, level, share, seed, rng) for seed in range(SPLITS)
            ]
            exact, covered, before, size, read = np.mean(found, axis=0)
            name = f"{level:.0%}, {FIRST} reads, then {LATER} of images with several classes, share {share:g}"
            record(f"{name}: coverage off by", 100.0 * abs(exact - level), "points", 1.0, at_least=False)
            record(f"{name}: coverage with empty ones filled", 100.0 * covered, "%", 100.0 * level - 1.0)
            record(f"{name}: mean size, formerly {before:.3f}", size, "classes")
            record(f"{name}: read again", 100.0 * read, "%")


def test_calibration_error(
    record: Record, network: TrainedNetwork, images: tuple[NDArray[np.uint8], NDArray[np.int64]]
) -> None:
    temperature = temperature_of(shipped.load("mnist").description.metrics)
    shares = probabilities(
        scores_of_features(network.module, network.features(images[0]), network.transfer), temperature
    )
    sums = LossSums()
    sums.add(shares, images[1], shares.argmax(axis=1))
    losses = sums.losses()
    assert losses is not None
    error = losses.calibration_error or 0.0
    record("ECE of `mnist`, 10,000 test images", 100.0 * error, "%", 0.7, at_least=False)
    record("its negative log-likelihood", losses.negative_log_likelihood, "")
    record("its Brier score", losses.brier_score, "")
