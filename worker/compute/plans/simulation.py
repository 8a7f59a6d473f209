"""Simulates plans of reads on the stored reads of labelled images. Nothing is sampled here.

A plan reads all images some times, then those with a small energy gap or without a class some more times, and
so on. The first reads of a stored sample set are those of the first round, the next ones those of the second:
each read counts once, and the class of an image is the consensus over all reads that it got.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BoolArray = NDArray[np.bool_]
FloatArray = NDArray[np.float64]

_READS = (5, 10, 20, 30, 50, 70, 100, 200, 500, 1_000, 2_000, 5_000)
# Shares of all images that a second round is simulated for, and of its images for a third one.
_SHARES = (0.0025, 0.005, 0.01, 0.015, 0.02, 0.03, 0.05, 0.08, 0.12, 0.2, 0.3)
_OF_SECOND = (0.25, 0.5)
_DIGITS = 4  # of a gap


@dataclass(frozen=True)
class Later:
    """A later round: ``reads`` more of each image that has no class, or whose energy gap is below ``gap``."""

    reads: int
    gap: float


@dataclass(frozen=True)
class ReadPlan:
    """Reads of all images, and the rounds after them."""

    reads: int
    later: tuple[Later, ...] = ()


@dataclass(frozen=True, eq=False)
class Outcomes:
    """What the first reads of each of N images make of it, for each of T numbers of reads.

    Attributes:
        reads: (T,) numbers of reads, ascending.
        right: (T, N) bool, images whose class is their label.
        gaps: (T, N) float64, energy gaps: -inf without a class, inf where no other class has an energy.
    """

    reads: tuple[int, ...]
    right: BoolArray
    gaps: FloatArray

    def row(self, reads: int) -> int:
        """Return the row of ``reads``."""
        return self.reads.index(reads)


@dataclass(frozen=True, eq=False)
class Simulated:
    """A plan on N labelled images.

    Attributes:
        right: (N,) bool, images whose class is their label in the end.
        shares: of the images that each later round reads, in [0, 1].
    """

    plan: ReadPlan
    right: BoolArray
    shares: tuple[float, ...]

    @property
    def rounds(self) -> list[tuple[float, int]]:
        """Return the share of the images that each round reads, and its number of reads."""
        reads = (self.plan.reads, *(later.reads for later in self.plan.later))
        return list(zip((1.0, *self.shares), reads, strict=True))


def numbers_of_reads(most: int) -> tuple[int, ...]:
    """Return the numbers of reads that rounds may end with, ascending, if ``most`` are stored."""
    rounds = _rounds(most) or [most]
    sums = {first + second for first in rounds for second in rounds if first + second <= most}
    return tuple(sorted({*rounds, *sums}))


def list_plans(outcomes: Outcomes) -> list[ReadPlan]:
    """Return the plans to simulate: fixed numbers of reads, two rounds of reads, and three.

    The third round has all reads that are left, and a gap that is not above that of the second.
    """
    most = outcomes.reads[-1]
    plans = [ReadPlan(reads) for reads in _rounds(most) or [most]]
    for reads in _rounds(most):
        gaps = outcomes.gaps[outcomes.row(reads)]
        for gap in dict.fromkeys(_quantiles(gaps, _SHARES)):
            for more in _rounds(most - reads):
                second = Later(more, gap)
                plans.append(ReadPlan(reads, (second,)))
                plans += [
                    ReadPlan(reads, (second, third)) for third in _thirds(outcomes, gaps, reads, second)
                ]
    return plans


def simulate(plan: ReadPlan, outcomes: Outcomes) -> Simulated:
    """Return what ``plan`` makes of the images of ``outcomes``, which has all of its numbers of reads."""
    total = plan.reads
    row = outcomes.row(total)
    right, sent = outcomes.right[row], np.ones(outcomes.right.shape[1], np.bool_)
    shares = []
    for later in plan.later:
        sent = sent & (outcomes.gaps[row] < later.gap)
        total += later.reads
        row = outcomes.row(total)
        right = np.where(sent, outcomes.right[row], right)
        shares.append(float(sent.mean()))
    return Simulated(plan, right, tuple(shares))


def _rounds(most: int) -> list[int]:
    """Return the numbers of reads that a round may have, if there are ``most``; none if there are under 5."""
    return [] if most < _READS[0] else [*(number for number in _READS if number < most), most]


def _thirds(outcomes: Outcomes, gaps: FloatArray, reads: int, second: Later) -> Iterator[Later]:
    """Yield third rounds after ``second``, with at least as many reads.

    ``gaps`` are those after the first round, of ``reads`` reads.
    """
    total = reads + second.reads
    left = outcomes.reads[-1] - total
    sent = gaps < second.gap
    if left < second.reads or not sent.any():
        return
    for gap in dict.fromkeys(_quantiles(outcomes.gaps[outcomes.row(total)][sent], _OF_SECOND)):
        yield Later(left, min(gap, second.gap))


def _quantiles(gaps: FloatArray, shares: Sequence[float]) -> Iterator[float]:
    """Yield the gap below which about each of ``shares`` of the ``gaps`` is, at least 0, if it is finite."""
    ordered = np.sort(gaps)
    for share in shares:
        gap = float(ordered[min(round(share * len(ordered)), len(ordered) - 1)])
        if gap < np.inf:
            yield float(f"{max(gap, 0.0):.{_DIGITS}g}")
