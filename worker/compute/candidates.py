"""Which sampling parameters suit a network: accuracy over reads x consensus rule x fraction, and the choice.

Nothing is sampled here. One set of raw reads of a labelled validation set answers for every smaller number of
reads and for every rule at once.
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

# Accuracy given up for fewer reads: 0.1 points, a thousandth of the images.
_ONE_IN = 1_000
_READS = (10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000)
# The default comes first in each: among equals, the first is chosen.
_FRACTIONS = (0.1, 0.2, 0.05, 0.5)
_BETAS = (1.0, 0.5, 2.0)


@dataclass(frozen=True)
class Choice:
    """How many reads, and how they become class scores; ``fraction`` and ``beta`` where the rule has one."""

    reads: int
    rule: Rule
    fraction: float = consensus.DEFAULT_FRACTION
    beta: float = 1.0


def choices(reads: int) -> tuple[Choice, ...]:
    """What is compared where ``reads`` were made: 10, 20, 50, 100, ... and all of them, by every rule."""
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
    kept: NDArray[np.bool_] | None = None,
) -> CountArray:
    """Images predicted right by each of C choices, (C,) int64; undecided ones count as wrong.

    class_bits: (B, R, K) uint8. energies: (B, R) float. labels: (B,) integers. A choice of r reads takes
    the first r of the R. kept: (B, R), reads that count; None: all.

    Raises ImageError when there are not B labels, ParameterError when a choice needs more than R reads.
    """
    images, reads = energies.shape
    if labels.shape != (images,):
        raise ImageError(f"there are {len(labels)} labels for {images} images")
    right = np.empty(len(among), dtype=np.int64)
    for index, choice in enumerate(among):
        if choice.reads > reads:
            raise ParameterError(f"{choice.reads} reads are to be compared, and only {reads} were made")
        first = slice(choice.reads)
        bits, occurrences = class_bits[:, first], None
        if kept is not None:
            bits, occurrences = consensus.discard_reads(bits, kept[:, first])
        scored = consensus.score(
            bits, energies[:, first], choice.rule, choice.fraction, choice.beta, occurrences
        )
        right[index] = np.count_nonzero(scored.predicted == labels)
    return right


def choose_cheapest(right: CountArray, costs: FloatArray, images: int) -> tuple[int, int]:
    """Row and column of the cheapest entry of ``right`` (M, C) within 0.1 points of the best.

    costs: (M, C) float64, what an image costs with that entry's parameters. Among equally cheap ones the most
    accurate, and among these the first, row by row.

    Raises ParameterError when the shapes differ, there is nothing to choose from, or a count is impossible.
    """
    if right.shape != costs.shape or right.size == 0:
        raise ParameterError(f"counts {right.shape} and costs {costs.shape} leave nothing to choose from")
    if images < 1 or right.min() < 0 or right.max() > images:
        raise ParameterError(f"of {images} images, {right.min()} to {right.max()} cannot be right")
    # In whole numbers: a thousandth of the images is no float64.
    eligible = (right.max() - right).ravel() * _ONE_IN <= images
    order = np.lexsort((-right.ravel(), costs.ravel()))
    first = int(order[eligible[order]][0])
    return first // right.shape[1], first % right.shape[1]
