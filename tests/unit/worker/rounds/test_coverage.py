"""Sets of classes hold the right one as often as promised, though they decide which images are read again.

Images are read one after the other, and their first reads count. Those of a calibration are followed through
the rounds of a run, whose shares, budgets and full problems decide how many images each round reads.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np
import pytest
from numpy.typing import NDArray

from schema.codecs.nonconformity import ReadOutcome, ReadsHad, after_rounds
from schema.parameters import Round
from worker.compute.certainty import class_sets
from worker.compute.certainty.gaps import energy_gaps
from worker.rounds.selection import reached, select_images

CLASSES, READS = 4, 45
TOTALS = (5, 15, 35, 45)
ROUNDS = ((10, 0.05), (30, 0.05))
CALIBRATED, IMAGES, TRIALS = 150, 120, 400


@dataclass(frozen=True)
class Read:
    """Class energies (T, N, K) of images by their first reads, and their labels (N,)."""

    energies: NDArray[np.float64]
    labels: NDArray[np.int64]

    @cached_property
    def outcomes(self) -> dict[int, ReadOutcome]:
        return {
            total: ReadOutcome(class_sets.of_labels(own, self.labels), gaps_of(own))
            for total, own in zip(TOTALS, self.energies, strict=True)
        }


def read(rng: np.random.Generator, images: int) -> Read:
    """More reads find lower energies of all classes, of the right one sooner in easy images than in hard."""
    labels = rng.integers(0, CLASSES, images)
    floor = rng.normal(0.0, 0.6, (images, CLASSES))
    floor[np.arange(images), labels] -= rng.exponential(2.0, images)
    above = rng.gamma(1.0, 5.0, (READS, images, CLASSES))
    lowest = np.minimum.accumulate(above, axis=0)[[total - 1 for total in TOTALS]]
    return Read(floor + lowest, labels)


@cache
def trials() -> list[tuple[Read, Read]]:
    """Images to calibrate on and images of a run, the same for every case."""
    rng = np.random.default_rng(5)
    return [(read(rng, CALIBRATED), read(rng, IMAGES)) for _ in range(TRIALS)]


def gaps_of(energies: NDArray[np.float64]) -> NDArray[np.float64]:
    return energy_gaps(energies, energies.argmin(axis=1).astype(np.int16))


def run(
    images: Read, calibration: Read, confidence: float, share: float, tiles: int, paid: int | None
) -> tuple[NDArray[np.float64], ReadsHad, list[int]]:
    """Return class energies after all rounds, the reads that they had, and how many each round read."""
    outcomes, sent = calibration.outcomes, []
    energies, had = images.energies[0].copy(), ReadsHad(TOTALS[0])
    totals = np.full(IMAGES, TOTALS[0])
    for more, gap in ROUNDS:
        scores = after_rounds(outcomes, had).scores
        limit = class_sets.limit_of(class_sets.fit(scores, calibration.labels, CLASSES, confidence))
        gaps = gaps_of(energies)
        wanted = Round(more, np.nextafter(max(limit, gap), np.inf), share)
        chosen = select_images(np.arange(IMAGES), gaps, wanted, IMAGES, tiles, paid).images
        is_read = np.isin(np.arange(IMAGES), chosen)
        sent.append(len(chosen))
        totals[is_read] += more
        had = ReadsHad(had.first, (*had.later, (more, reached(gaps, is_read, gap))))
        energies = images.energies[np.searchsorted(TOTALS, totals), np.arange(IMAGES)]
    return energies, had, sent


@pytest.mark.parametrize(
    ("confidence", "share", "tiles", "paid"),
    [(0.8, 1.0, 1, None), (0.9, 1.0, 7, None), (0.9, 0.1, 7, None), (0.95, 1.0, 7, 2), (0.9, 1.0, 7, 0)],
    ids=["all sets of several classes", "filled", "share", "budget", "left out"],
)
def test_coverage_is_the_confidence_or_one_image_more(
    confidence: float, share: float, tiles: int, paid: int | None
) -> None:
    held, sizes, before = [], [], []
    for trial, (calibration, images) in enumerate(trials()):
        energies, had, sent = run(images, calibration, confidence, share, tiles, paid)
        numbers = class_sets.random_numbers(trial, np.arange(IMAGES))
        for reads, own, found in (
            (ReadsHad(TOTALS[0]), images.energies[0], before),
            (had, energies, sizes),
        ):
            scores = after_rounds(calibration.outcomes, reads).scores
            fitted = class_sets.fit(scores, calibration.labels, CLASSES, confidence)
            sets = class_sets.choose(own, fitted, numbers)
            found.append(sets.sum(axis=1).mean())
        held.append(sets[np.arange(IMAGES), images.labels].mean())
        assert paid != 0 or sent == [0, 0]
    # The mean of the trials, within four of its standard errors.
    low, error = np.ceil((CALIBRATED + 1) * confidence) / (CALIBRATED + 1), np.std(held) / np.sqrt(TRIALS)
    assert low - 4 * error <= np.mean(held) <= low + 1 / (CALIBRATED + 1) + 4 * error
    if paid != 0:
        assert np.mean(sizes) < np.mean(before) - 0.05


def test_a_larger_energy_gap_than_the_limit_is_a_set_of_one_class_or_none() -> None:
    rng = np.random.default_rng(1)
    energies, calibrated = (
        np.round(rng.normal(size=(2_000, CLASSES)), 1),
        np.round(rng.exponential(size=150), 1),
    )
    for confidence in (0.5, 0.9, 0.99):
        fitted = class_sets.fit(calibrated, np.zeros(150, int), CLASSES, confidence)
        sizes = class_sets.choose(energies, fitted, rng.random(2_000)).sum(axis=1)
        limit = class_sets.limit_of(fitted)
        gaps = gaps_of(energies)
        assert (sizes[gaps > limit] <= 1).all()
        assert (sizes[gaps < limit] > 1).all()
