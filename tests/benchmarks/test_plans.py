"""Plans of reads on emulated chips with all errors, chosen on validation images, against fixed reads.

`mnist` was validated on the 3,000 training images that its training held out. Later rounds are packed densely
on other tiles, in problems with errors of their own. Figures (docs/figures.md): folded `mnist` 52 us an image
against 83 us with 50 reads, sampled `mnist` 465 us against 1,045 us with 100 reads, `conv358` folded 28 %
less than 100 reads; accuracies are equal within the standard error, which takes images for independent,
although all runs have the same ones.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from producer.calibration.reads import choose_reads
from schema.parameters import Parameters, Round, Rule, Visible
from tests.benchmarks.chip_reads import ChipSampler, ImageReads, chip_with, tiling_for
from tests.benchmarks.conftest import Record
from tests.benchmarks.test_qpu import trained
from tests.conftest import data_file
from worker.compute import consensus
from worker.compute.candidates import Choice
from worker.compute.certainty.gaps import class_energies, energy_gaps, lowest_reads
from worker.compute.plans.choice import Prices, compare_plans
from worker.compute.plans.outcomes import join, outcomes_of
from worker.compute.plans.simulation import numbers_of_reads
from worker.compute.scoring import Reads
from worker.qubo.class_states import class_minima
from worker.rounds.selection import select_images

pytestmark = [pytest.mark.bench, pytest.mark.slow, pytest.mark.timeout(14_400)]

CHOICE = Choice(100, Rule.LOWEST_ENERGY_MEAN)
CLASSES = 10
BLOCK = 500  # images that are scored at a time
SEEDS = 5
AT_ONCE = 100_000  # the stream of reads of a later round is another one

Again = Callable[[NDArray[np.int64], int], ImageReads]  # images that are read again, and the reads of each


@dataclass(frozen=True)
class Outcome:
    """What a run with some reads comes to: which images are right, and its QPU time for each image."""

    right: NDArray[np.bool_]
    us: float
    sent_again: tuple[int, ...] = ()


def paired(one: Outcome, other: Outcome) -> tuple[float, float]:
    """The difference in accuracy on the same images and its standard error, in percentage points."""
    difference = one.right.astype(float) - other.right
    return 100 * float(difference.mean()), 100 * float(difference.std() / math.sqrt(len(difference)))


def measure_plans(
    sampler: ChipSampler, images: NDArray[np.uint8], labels: NDArray[Any], reads: ImageReads
) -> dict[str, Any]:
    """What a calibration stores about plans, by the reads of validation images."""
    numbers = numbers_of_reads(reads.energies.shape[1])
    parts = []
    for start in range(0, len(images), BLOCK):
        part = slice(start, start + BLOCK)
        bits = np.unpackbits(reads.bits[part], axis=2, count=CLASSES)
        minima = class_minima(sampler.program.model, linear_of(sampler, images[part]))
        parts.append(outcomes_of(Reads(bits, reads.energies[part]), labels[part], minima, CHOICE, numbers))
    return compare_plans(join(parts), Prices(sampler.tiles, *sampler.times_us()))


def linear_of(sampler: ChipSampler, images: NDArray[np.uint8]) -> NDArray[np.float64]:
    return sampler.program.model.linear(sampler.network.features(images))


def classify(
    sampler: ChipSampler,
    images: NDArray[np.uint8],
    labels: NDArray[Any],
    first: ImageReads,
    again: Again,
    reads: int,
    rounds: tuple[Round, ...] = (),
) -> Outcome:
    """Classify ``images`` as a run with these ``reads`` and ``rounds`` would, by ``first`` and more reads."""
    fixed_us, read_us = sampler.times_us()
    bits = [np.unpackbits(each[:reads], axis=1, count=CLASSES) for each in first.bits]
    energies = [each[:reads] for each in first.energies]
    predicted, gaps = np.empty(len(images), np.int64), np.empty(len(images))
    pending = np.arange(len(images))
    spent_us = math.ceil(len(images) / sampler.tiles) * (fixed_us + reads * read_us)
    sent_again = []
    for wanted in (*rounds, None):
        for start in range(0, len(pending), BLOCK):
            part = pending[start : start + BLOCK]
            predicted[part], gaps[part] = score(sampler, images, bits, energies, part)
        if wanted is None:
            break
        pending = np.sort(
            select_images(np.arange(len(images)), gaps, wanted, len(images), sampler.tiles).images
        )
        sent_again.append(len(pending))
        if not len(pending):
            break
        more = again(pending, wanted.reads)
        for k, image in enumerate(pending.tolist()):
            bits[image] = np.concatenate([bits[image], np.unpackbits(more.bits[k], axis=1, count=CLASSES)])
            energies[image] = np.concatenate([energies[image], more.energies[k]])
        spent_us += math.ceil(len(pending) / sampler.tiles) * (fixed_us + wanted.reads * read_us)
    return Outcome(predicted == labels, spent_us / len(images), tuple(sent_again))


def score(
    sampler: ChipSampler,
    images: NDArray[np.uint8],
    bits: list[NDArray[np.uint8]],
    energies: list[NDArray[np.float32]],
    part: NDArray[np.int64],
) -> tuple[NDArray[np.int16], NDArray[np.float64]]:
    """Return classes and gaps of the images ``part`` by all of their reads, for `select_images`."""
    most = max(len(energies[image]) for image in part)
    class_bits = np.zeros((len(part), most, CLASSES), np.uint8)
    of_reads = np.zeros((len(part), most), np.float32)
    counts = np.zeros((len(part), most), np.int32)
    for k, image in enumerate(part.tolist()):
        number = len(energies[image])
        class_bits[k, :number], of_reads[k, :number], counts[k, :number] = bits[image], energies[image], 1
    occurrences = None if counts.all() else counts
    predicted = consensus.score(class_bits, of_reads, CHOICE.rule, occurrences=occurrences).predicted
    lowest = class_energies(
        lowest_reads(class_bits, of_reads, occurrences),
        class_minima(sampler.program.model, linear_of(sampler, images[part])),
    )
    gaps = energy_gaps(lowest, predicted)
    return predicted, np.where(predicted < 0, -np.inf, np.where(np.isnan(gaps), np.inf, gaps))


def images_of(name: str) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    with np.load(data_file(name)) as file:
        return file["images"], file["labels"].astype(np.int64)


def held_out(name: str, count: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """The images that training with seed 0 holds out first: those of `mnist`, if they are 3,000."""
    images, labels = images_of(name)
    order = np.random.default_rng(0).permutation(len(images))[:count]
    return images[order], labels[order]


@dataclass(frozen=True)
class Comparison:
    """A network on the chip, the fixed number that its plans are compared with, and the goal in us."""

    network: str
    visible: Visible
    errors: float  # times those that are published
    fixed: int
    goal_us: float | None
    images: int = 10_000  # of a run

    @property
    def name(self) -> str:
        errors = "" if self.errors == 1.0 else f", {self.errors:g} x the published errors"
        return f"{self.network} {self.visible}, {self.images:,} images{errors}"


COMPARISONS = (
    Comparison("mnist", Visible.FOLDED, 2.0, 50, 65.0),
    Comparison("mnist", Visible.SAMPLED, 1.0, 100, 530.0),
    Comparison("mnist", Visible.SAMPLED, 1.0, 100, None, images=1_000),
    Comparison("conv358", Visible.FOLDED, 1.0, 100, None, images=600),
)


@pytest.mark.parametrize("compared", COMPARISONS, ids=lambda each: each.name.split(",")[0])
def test_a_plan_against_fixed_reads(record: Record, compared: Comparison) -> None:
    network, parameters = trained(compared.network), Parameters(visible=compared.visible)
    solver = chip_with(compared.errors)
    sampler = ChipSampler(network, parameters, solver, tiling_for(network, parameters, solver))
    validation, labels = held_out("mnist_train.npz", 1_000 if compared.network == "conv358" else 3_000)
    plans = measure_plans(sampler, validation, labels, sampler.sample(validation, 200, seed=1_000))
    chosen = choose_reads(plans, compared.images, None, "the validation images")
    test, true = images_of("mnist_test.npz")
    test, true = test[: compared.images], true[: compared.images]
    outcomes = []
    for seed in range(SEEDS):
        most = max(chosen.reads, compared.fixed)
        first = sampler.sample(test, most, seed=seed, number=1_000 * (seed + 1))

        def again(images: NDArray[np.int64], reads: int, seed: int = seed) -> ImageReads:
            return sampler.sample(
                test[images],
                reads,
                first_tile=sampler.tiles // 2,
                seed=seed + AT_ONCE,
                number=1_000 * (seed + 2),
            )

        outcomes.append(
            (
                classify(sampler, test, true, first, again, chosen.reads, chosen.rounds),
                classify(sampler, test, true, first, again, compared.fixed),
            )
        )
    ours, fixed = (
        Outcome(np.concatenate([each.right for each in some]), float(np.mean([each.us for each in some])))
        for some in zip(*outcomes, strict=True)
    )
    difference, error = paired(ours, fixed)
    record(f"{compared.name}: {chosen.reason}", 100 * float(ours.right.mean()), "%")
    record(f"less {compared.fixed} reads of all, standard error {error:.2f}", difference, "points", -0.05)
    record("QPU time of an image", ours.us, "us", compared.goal_us, at_least=False, rival=fixed.us)
