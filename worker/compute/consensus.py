"""Computes consensus class scores: from the reads of an image to its class.

Reads count by their noiseless logical energy, the lowest first (Higham and Bedford, section 4: the lowest 100
of 1000). The result never depends on the order of the reads.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from schema.errors import ParameterError
from schema.parameters import Rule

if TYPE_CHECKING:
    from collections.abc import Iterator

FloatArray = NDArray[np.float64]
BitArray = NDArray[np.uint8]
BoolArray = NDArray[np.bool_]
CountArray = NDArray[np.integer]

DEFAULT_RULE = Rule.LOWEST_ENERGY_MEAN
# 100 of 1000 reads, as published.
DEFAULT_FRACTION = 0.1
UNDECIDED = -1

# Scores are quotients of counts of at most some millions: if they are closer than this, they differ by
# rounding.
_SAME_SCORE = 1e-9
# Reads are converted to float64 in blocks of this size, whatever the size of the batch.
_BLOCK_BYTES = 1 << 20


@dataclass(frozen=True, eq=False)
class Consensus:
    """Scores and class of each image."""

    scores: FloatArray  # (B, K) float64 in [0, 1], weighted mean of each class unit over the selected reads
    # (B,) int16, the class with the highest score; -1 if no class unit is on in any selected read
    predicted: NDArray[np.int16]
    margin: FloatArray  # (B,) float64, highest score less the second; with one class the score itself
    # (B,) bool, several classes share the highest score; the lowest energy among reads with the class unit
    # on decided, and if that is shared too, the first class
    tied: BoolArray
    one_hot_fraction: FloatArray  # (B,) float64, share of all reads with exactly one class unit on
    lowest_energy: FloatArray  # (B,) float64, over all reads


def score(
    class_bits: BitArray,
    energies: NDArray[np.floating],
    rule: Rule = DEFAULT_RULE,
    fraction: float = DEFAULT_FRACTION,
    beta: float = 1.0,
    occurrences: CountArray | None = None,
) -> Consensus:
    """Return the consensus class scores of a batch.

    Args:
        class_bits: (B, R, K) uint8.
        energies: (B, R) float.
        rule: ``lowest_energy_mean`` selects the ceil(fraction R) reads of lowest energy, at least one. Reads
            whose energy is exactly that of the last selected one share the remaining weight, so that none is
            preferred. ``all_reads_mean`` selects all. ``boltzmann`` weighs read r by exp(-beta E_r).
        fraction: in (0, 1].
        beta: > 0, in the energies' units.
        occurrences: (B, R) integers >= 0, how often each row was read; None: once. R is then their sum.

    Raises:
        ParameterError: shapes disagree, a value is out of range or an image has no read.
    """
    _check_reads(class_bits, energies, occurrences)
    _check_options(rule, fraction, beta)
    counts = None if occurrences is None else occurrences.astype(np.float64)
    if counts is None and rule != Rule.BOLTZMANN:
        scores, one_hot = _count(class_bits, energies, 1.0 if rule == Rule.ALL_READS_MEAN else fraction)
    else:
        exact = energies.astype(np.float64)
        weights = np.ones_like(exact) if counts is None else counts
        scores, one_hot = _weigh(class_bits, exact, weights, rule, fraction, beta)
    decided = scores.max(axis=1) > 0.0
    predicted, tied = _predict(class_bits, energies, counts, scores, decided)
    lowest = energies.min(axis=1, where=_counted(energies, counts), initial=np.inf).astype(np.float64)
    return Consensus(scores, predicted, _margin(scores), tied, one_hot, lowest)


def discard_reads(class_bits: BitArray, counted: BoolArray) -> tuple[BitArray, NDArray[np.int32]]:
    """Return ``class_bits`` and occurrences for `score` so that only the reads ``counted`` (B, R) bool count.

    An image without a counted read has all of them, with every class unit off: it is undecided.
    """
    some = np.asarray(counted.any(axis=1))[:, np.newaxis]
    bits = np.where(some[..., np.newaxis], class_bits, np.uint8(0))
    return bits, (counted | ~some).astype(np.int32)


def _count(
    class_bits: BitArray, energies: NDArray[np.floating], fraction: float
) -> tuple[FloatArray, FloatArray]:
    """Return scores (B, K) and shares (B,) of one-hot reads if every read counts once: eight reads a byte."""
    reads = class_bits.shape[1]
    # Contiguous first: packing bits with gaps takes five times as long.
    on = np.packbits(np.ascontiguousarray(class_bits.transpose(0, 2, 1)), axis=2)
    once, twice = np.zeros_like(on[:, 0]), np.zeros_like(on[:, 0])
    for row in on.transpose(1, 0, 2):
        twice |= once & row
        once |= row
    one_hot = _ones(once & ~twice) / reads
    selected = int(_select(fraction, np.asarray(reads)))
    if selected == reads:
        return _ones(on) / reads, one_hot
    cut = np.partition(energies, selected - 1, axis=1)[:, selected - 1 : selected]
    below, equal = energies < cut, energies == cut
    share = (selected - below.sum(axis=1)) / equal.sum(axis=1)
    sums = [_ones(on & np.packbits(part, axis=1)[:, np.newaxis]) for part in (below, equal)]
    return np.minimum((sums[0] + share[:, np.newaxis] * sums[1]) / selected, 1.0), one_hot


def _ones(packed: BitArray) -> CountArray:
    """Return the number of bits that are set along the last axis."""
    return np.asarray(np.bitwise_count(packed).sum(axis=-1, dtype=np.int64))


def _select(fraction: float, reads: FloatArray) -> FloatArray:
    """Return how many of ``reads`` the ``fraction`` selects, at least one."""
    # 0.07 x 100 is 7.000000000000001 in float64, but 7 reads are meant.
    return np.maximum(np.ceil(fraction * reads - 1e-9), 1.0)


def _weigh(
    class_bits: BitArray,
    energies: FloatArray,
    counts: FloatArray,
    rule: Rule,
    fraction: float,
    beta: float,
) -> tuple[FloatArray, FloatArray]:
    """Return scores (B, K) and shares (B,) of one-hot reads if reads count differently."""
    images, _, classes = class_bits.shape
    scores, one_hot = np.empty((images, classes)), np.empty(images)
    for block in _blocks(class_bits):
        parts, share, total = _weights(energies[block], counts[block], rule, fraction, beta)
        bits = class_bits[block].astype(np.float64)
        sums = np.matmul(parts, bits)
        means = (sums[:, 0] + share[:, np.newaxis] * sums[:, 1]) / total[:, np.newaxis]
        scores[block] = np.minimum(means, 1.0)
        one_hot[block] = _one_hot_fraction(bits, counts[block])
    return scores, one_hot


def _weights(
    energies: FloatArray, counts: FloatArray, rule: Rule, fraction: float, beta: float
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return weights of the reads in two parts (b, 2, R), the share (b,) of the second, and the sum (b,).

    The parts are whole numbers if the rule counts reads, so that their sums are exact in any order.
    """
    if rule == Rule.LOWEST_ENERGY_MEAN:
        return _lowest(energies, counts, fraction)
    weights = counts
    if rule == Rule.BOLTZMANN:
        lowest = energies.min(axis=1, keepdims=True, where=counts > 0.0, initial=np.inf)
        weights = counts * np.exp(np.minimum(beta * (lowest - energies), 0.0))
    parts = np.stack((weights, np.zeros_like(weights)), axis=1)
    return parts, np.zeros(len(weights)), weights.sum(axis=1)


def _lowest(
    energies: FloatArray, counts: FloatArray, fraction: float
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return `_weights` of reads below the cut, which count fully, and at the cut, which share the rest."""
    selected = _select(fraction, counts.sum(axis=1))
    order = np.argsort(energies, axis=1)
    reached = np.cumsum(np.take_along_axis(counts, order, axis=1), axis=1) >= selected[:, np.newaxis]
    last = np.take_along_axis(order, reached.argmax(axis=1)[:, np.newaxis], axis=1)
    cut = np.take_along_axis(energies, last, axis=1)
    parts = np.stack(((energies < cut) * counts, (energies == cut) * counts), axis=1)
    below, equal = parts.sum(axis=2).T
    return parts, (selected - below) / equal, selected


def _one_hot_fraction(bits: FloatArray, counts: FloatArray) -> FloatArray:
    """Return the share (b,) of reads with exactly one of the class units (b, R, K) on."""
    one_hot = np.matmul(bits, np.ones(bits.shape[2])) == 1.0
    return np.asarray((one_hot * counts).sum(axis=1) / counts.sum(axis=1))


def _predict(
    class_bits: BitArray,
    energies: NDArray[np.floating],
    counts: FloatArray | None,
    scores: FloatArray,
    decided: BoolArray,
) -> tuple[NDArray[np.int16], BoolArray]:
    predicted = scores.argmax(axis=1)
    best = scores >= scores.max(axis=1, keepdims=True) - _SAME_SCORE
    tied = (best.sum(axis=1) > 1) & decided
    if tied.any():
        seen = _counted(energies, counts)[tied]
        on = (class_bits[tied] == 1) & seen[..., np.newaxis]
        lowest = np.where(on, energies[tied][..., np.newaxis], np.inf).min(axis=1)
        predicted[tied] = np.where(best[tied], lowest, np.inf).argmin(axis=1)
    predicted[~decided] = UNDECIDED
    return predicted.astype(np.int16), tied


def _margin(scores: FloatArray) -> FloatArray:
    if scores.shape[1] == 1:
        return scores[:, 0].copy()
    highest = np.partition(scores, -2, axis=1)[:, -2:]
    return highest[:, 1] - highest[:, 0]


def _counted(energies: NDArray[np.floating], counts: FloatArray | None) -> BoolArray:
    """Return which rows (b, R) were read at all."""
    return np.ones(energies.shape, dtype=np.bool_) if counts is None else counts > 0.0


def _blocks(class_bits: BitArray) -> Iterator[slice]:
    images, reads, classes = class_bits.shape
    step = max(1, _BLOCK_BYTES // (8 * reads * classes))
    for start in range(0, images, step):
        yield slice(start, start + step)


def _check_reads(
    class_bits: BitArray, energies: NDArray[np.floating], occurrences: CountArray | None
) -> None:
    if class_bits.ndim != 3 or class_bits.dtype != np.uint8 or 0 in class_bits.shape[1:]:
        raise ParameterError(
            f"class bits must be uint8 (B, R >= 1, K >= 1), not {class_bits.dtype} {class_bits.shape}"
        )
    if class_bits.max(initial=0) > 1:
        raise ParameterError("class bits must be 0 or 1")
    if energies.shape != class_bits.shape[:2] or not np.isfinite(energies).all():
        raise ParameterError(
            f"energies must be finite, of shape {class_bits.shape[:2]}, not {energies.shape}"
        )
    if occurrences is None:
        return
    if occurrences.shape != energies.shape or not np.issubdtype(occurrences.dtype, np.integer):
        raise ParameterError(f"occurrences must be integers {energies.shape}, not {occurrences.shape}")
    if occurrences.min(initial=0) < 0 or not occurrences.any(axis=1).all():
        raise ParameterError("occurrences must be 0 or more, and every image needs a read")


def _check_options(rule: str, fraction: float, beta: float) -> None:
    if rule not in list(Rule):
        raise ParameterError(f"the consensus rule must be one of {', '.join(Rule)}, not {rule!r}")
    if not 0.0 < fraction <= 1.0:
        raise ParameterError(f"the fraction of reads must be above 0 and at most 1, not {fraction}")
    if not (np.isfinite(beta) and beta > 0.0):
        raise ParameterError(f"beta must be a finite number above 0, not {beta}")
