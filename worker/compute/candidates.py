"""Compares sampling parameters for a network: accuracy by reads, consensus rule and fraction, and the choice.

Nothing is sampled here. One set of raw reads of a labelled validation set serves every smaller number of
reads and every rule.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from schema.errors import ImageError, ParameterError
from schema.parameters import Rule
from worker.compute import consensus
from worker.compute.consensus import BitArray, FloatArray

CountArray = NDArray[np.int64]

# Accuracy that fewer reads may cost: 0.1 points, a thousandth of the images.
_ONE_IN = 1_000
_READS = (10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000)
# The default comes first in each, because the first of equals is chosen.
_FRACTIONS = (0.1, 0.2, 0.05, 0.5)
_BETAS = (1.0, 0.5, 2.0)


@dataclass(frozen=True)
class Choice:
    """A number of reads, and how they become class scores; ``fraction`` or ``beta`` if the rule has one."""

    reads: int
    rule: Rule
    fraction: float = consensus.DEFAULT_FRACTION
    beta: float = 1.0


def list_choices(reads: int) -> tuple[Choice, ...]:
    """Return what to compare of ``reads`` reads: 10, 20, 50, 100, ... and all of them, by every rule."""
    rules = [
        *((Rule.LOWEST_ENERGY_MEAN, fraction, 1.0) for fraction in _FRACTIONS),
        (Rule.ALL_READS_MEAN, consensus.DEFAULT_FRACTION, 1.0),
        *((Rule.BOLTZMANN, consensus.DEFAULT_FRACTION, beta) for beta in _BETAS),
    ]
    numbers = [number for number in _READS if number < reads] + [reads]
    return tuple(Choice(number, *rule) for number in numbers for rule in rules)


def count_right(
    class_bits: BitArray,
    energies: NDArray[np.floating],
    labels: NDArray[np.integer],
    among: Sequence[Choice],
    counted: NDArray[np.bool_] | None = None,
) -> CountArray:
    """Count the images that each of the C choices ``among`` predicts right, (C,) int64.

    Undecided images count as wrong. A choice of r reads takes the first r of the R.

    Args:
        class_bits: (B, R, K) uint8.
        energies: (B, R) float.
        labels: (B,) integers.
        counted: (B, R) bool, reads that count; None: all.

    Raises:
        ImageError: there are not B labels.
        ParameterError: a choice needs more than R reads.
    """
    images, reads = energies.shape
    if labels.shape != (images,):
        raise ImageError(f"there are {len(labels)} labels for {images} images")
    right = np.empty(len(among), dtype=np.int64)
    for index, choice in enumerate(among):
        if choice.reads > reads:
            raise ParameterError(f"{choice.reads} reads cannot be compared: there are only {reads}")
        first = slice(choice.reads)
        bits, occurrences = class_bits[:, first], None
        if counted is not None:
            bits, occurrences = consensus.discard_reads(bits, counted[:, first])
        scored = consensus.score(
            bits, energies[:, first], choice.rule, choice.fraction, choice.beta, occurrences
        )
        right[index] = np.count_nonzero(scored.predicted == labels)
    return right


def choose_cheapest(right: CountArray, costs: FloatArray, images: int) -> tuple[int, int]:
    """Return row and column of the cheapest entry within 0.1 points of the most accurate.

    Of equally cheap entries, the most accurate is chosen, and of these the first, row by row.

    Args:
        right: (M, C) int64, images predicted right.
        costs: (M, C) float64, what an image costs with that entry's parameters.
        images: how many there are.

    Raises:
        ParameterError: the shapes differ, there is nothing to choose from, or a count is impossible.
    """
    if right.shape != costs.shape or right.size == 0:
        raise ParameterError(f"counts {right.shape} and costs {costs.shape} leave nothing to choose from")
    if images < 1 or right.min() < 0 or right.max() > images:
        raise ParameterError(f"of {images} images, {right.min()} to {right.max()} cannot be right")
    # In whole numbers, because a thousandth of the images has no exact float64.
    eligible = (right.max() - right).ravel() * _ONE_IN <= images
    order = np.lexsort((-right.ravel(), costs.ravel()))
    first = int(order[eligible[order]][0])
    return first // right.shape[1], first % right.shape[1]
