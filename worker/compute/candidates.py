"""Compares sampling parameters for a network: accuracy by reads, unembedding, consensus rule and fraction.

Nothing is sampled here. One set of raw reads of a labelled validation set serves every smaller number of
reads, every unembedding and every rule. All are compared on the same images, so that differences have
smaller errors than accuracies.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from schema.errors import ImageError, ParameterError
from schema.parameters import Rule, Unembedding
from worker.compute import consensus
from worker.compute.consensus import BitArray, FloatArray

BoolArray = NDArray[np.bool_]

# Accuracy that fewer reads may cost: 0.1 points, a thousandth of the images.
_ONE_IN = 1_000
_READS = (10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000)
# The default comes first in each, because the first of equals is chosen.
_FRACTIONS = (0.1, 0.2, 0.05, 0.5)
_BETAS = (1.0, 0.5, 2.0)


@dataclass(frozen=True)
class Choice:
    """A number of reads, and how they become class scores; ``fraction`` or ``beta`` if the rule has one.

    ``unembedding`` counts only for reads of qubits.
    """

    reads: int
    rule: Rule
    fraction: float = consensus.DEFAULT_FRACTION
    beta: float = 1.0
    unembedding: Unembedding = Unembedding.MINIMIZE_ENERGY


# What the reads of qubits can become. `weighted_random` is not among them: fewer reads of it are not the
# first ones of more reads.
UNEMBEDDINGS = (Unembedding.MINIMIZE_ENERGY, Unembedding.MAJORITY_VOTE, Unembedding.DISCARD)


def list_choices(
    reads: int, unembeddings: Iterable[Unembedding] = (Unembedding.MINIMIZE_ENERGY,)
) -> tuple[Choice, ...]:
    """Return what to compare of ``reads`` reads: 10, 20, 50, 100, ... and all, by every rule.

    Each is compared with all ``unembeddings``.
    """
    rules = [
        *((Rule.LOWEST_ENERGY_MEAN, fraction, 1.0) for fraction in _FRACTIONS),
        (Rule.ALL_READS_MEAN, consensus.DEFAULT_FRACTION, 1.0),
        *((Rule.BOLTZMANN, consensus.DEFAULT_FRACTION, beta) for beta in _BETAS),
    ]
    numbers = [number for number in _READS if number < reads] + [reads]
    return tuple(
        Choice(number, *rule, unembedding)
        for unembedding in unembeddings
        for number in numbers
        for rule in rules
    )


def find_right(
    class_bits: BitArray,
    energies: NDArray[np.floating],
    labels: NDArray[np.integer],
    among: Sequence[Choice],
    counted: NDArray[np.bool_] | None = None,
) -> BoolArray:
    """Return which of B images each of the C choices ``among`` predicts right, (C, B) bool.

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
    right = np.empty((len(among), images), dtype=np.bool_)
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
        right[index] = scored.predicted == labels
    return right


def choose_cheapest(right: BoolArray, costs: FloatArray) -> tuple[int, int]:
    """Return row and column of the cheapest entry that is about as accurate as the most accurate one.

    That is: its accuracy is lower by at most one standard error of the difference on the same images, or by
    0.1 points. Of equally cheap entries the most accurate is chosen, and of these the first, row by row.

    Args:
        right: (M, C, N) bool, images predicted right.
        costs: (M, C) float64, what an image costs with that entry's parameters.

    Raises:
        ParameterError: the shapes differ, or there is nothing to choose from.
    """
    if right.shape[:2] != costs.shape or right.size == 0:
        raise ParameterError(f"images {right.shape} and costs {costs.shape} leave nothing to choose from")
    flat = right.reshape(costs.size, -1)
    order = np.lexsort((-flat.sum(axis=1, dtype=np.int64), costs.ravel()))
    first = int(order[about_as_accurate(flat, costs.ravel())[order]][0])
    return first // costs.shape[1], first % costs.shape[1]


def about_as_accurate(right: BoolArray, costs: FloatArray) -> BoolArray:
    """Return which of C entries are about as accurate as the most accurate one, (C,) bool.

    See `choose_cheapest`; of equally accurate entries the cheapest is compared with.

    Args:
        right: (C, N) bool, images predicted right.
        costs: (C,) float64.
    """
    images = right.shape[1]
    counts = right.sum(axis=1, dtype=np.int64)
    best = np.lexsort((costs, -counts))[0]
    fewer = counts[best] - counts
    # In whole numbers. The images that differ have the mean square `different` / N, and the standard error
    # of the mean difference d is sqrt((different / N - d^2) / N).
    different = (right != right[best]).sum(axis=1, dtype=np.int64)
    return np.asarray((fewer * _ONE_IN <= images) | (fewer**2 * (images + 1) <= different * images))
