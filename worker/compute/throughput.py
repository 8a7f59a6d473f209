"""Computes throughput figures of a run, from plain arrays."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schema.errors import ParameterError

FloatArray = NDArray[np.float64]
CountArray = NDArray[np.int64]

_MS_PER_S = 1000.0


@dataclass(frozen=True, eq=False)
class BatchTimes:
    """Images and times of every scored batch, all (N,): counts int64, times on one clock float64 seconds.

    A batch of a later round of reads has 0 images: they are counted in the first.

    Raises:
        ParameterError: lengths differ, a count is below 0, or a time is not finite.
    """

    images: CountArray
    enqueued: FloatArray
    started: FloatArray
    sampled: FloatArray
    scored: FloatArray
    sampling: FloatArray  # how long the annealer worked

    def __post_init__(self) -> None:
        times = (self.enqueued, self.started, self.sampled, self.scored, self.sampling)
        shapes = {np.shape(values) for values in (self.images, *times)}
        if len(shapes) != 1 or self.images.ndim != 1:
            raise ParameterError(f"every batch needs all its times; the arrays have shapes {sorted(shapes)}")
        if np.any(self.images < 0) or not all(np.isfinite(values).all() for values in times):
            raise ParameterError("a batch needs 0 images or more, and finite times")


@dataclass(frozen=True)
class SolverTimes:
    """Microseconds at the solver, all answered problems of a run together.

    ``sampling`` is anneal + readout + delay; ``programming`` + ``sampling`` is the QPU access time, which is
    charged (a solver may add thermalization). ``overhead`` is not charged.
    """

    programming: float = 0.0
    sampling: float = 0.0
    anneal: float = 0.0
    readout: float = 0.0
    delay: float = 0.0
    overhead: float = 0.0


@dataclass(frozen=True)
class ChainBreaks:
    """Share of reads in which chains were broken, in [0, 1]."""

    mean: float  # over all chains
    worst_unit: int  # in Q's order, the unit whose chains broke most
    worst: float  # its share


@dataclass(frozen=True)
class ChipFigure:
    """A value that was measured of each problem of a run: median, and bounds of the middle two thirds.

    ``usual`` has these bounds for up to 200 earlier problems of the same kind on the chip; it is None for
    fewer than 30.
    """

    median: float
    low: float
    high: float
    usual: tuple[float, float] | None


@dataclass(frozen=True)
class SolverFigures:
    """What a run used of a solver with qubits; all empty for an annealer in this process."""

    qpu_estimated_us: float = 0.0  # expected charge of the answered problems
    qpu_wasted_us: float = 0.0  # charge of duplicates, or without an answer
    qpu_charge_estimated_us: float = 0.0  # part of the charge that is estimated: the solver stated none
    qpu_wasted_estimated_us: float = 0.0  # the same part of what was wasted
    solver_time_us: SolverTimes = field(default_factory=SolverTimes)
    problems_sent: int = 0  # accepted by the solver
    problems_adopted: int = 0  # accepted in a submission whose outcome had been unknown
    problems_resubmitted: int = 0  # sent again after it was certain that they had not arrived
    duplicates: int = 0  # problems that the solver ran twice
    embedding_hits: int = 0
    embedding_misses: int = 0
    embedding_seconds_saved: float = 0.0  # by searches whose embeddings were found in the database
    chain_breaks: ChainBreaks | None = None
    problems_misprogrammed: int = 0  # whose reads were not used, because the chip was programmed wrongly
    qpu_misprogrammed_us: float = 0.0  # part of what was wasted: their charge
    inverse_temperature: float | None = None  # effective, of h and J as sent; the median of all problems
    coupling_bias: float | None = None  # field that couplers of |J| = 1 put on a qubit; the same
    # inverse_temperature, chain_breaks and field_errors of its good problems; empty if none was measured
    chip: dict[str, ChipFigure] = field(default_factory=dict)


def compute_throughput(
    batches: BatchTimes, qpu_access_time_us: FloatArray, solver: SolverFigures | None = None
) -> dict[str, Any]:
    """Compute the figures of a run by name, ready for JSON: its throughput, and those of ``solver``.

    ``elapsed_seconds`` is from the first batch's start to the last one's score, so that waiting for a time
    window does not count; ``images_per_second`` is 0 if nothing has elapsed. ``latency_ms`` is from enqueued
    to scored, ``queue_wait_ms`` from enqueued to started, ``scoring_ms`` from sampled to scored, all per
    image: every image has the time of its batch in ``batches``. A time that is negative, because clocks
    disagree, counts as 0. ``qpu_access_time_us`` (P,) float64 is what each answered problem was charged.
    """
    images = int(batches.images.sum())
    elapsed_s = _elapsed(batches)
    access_us = round(float(qpu_access_time_us.sum()), 1)
    return {
        **asdict(solver or SolverFigures()),
        "images": images,
        "images_per_second": images / elapsed_s if elapsed_s > 0.0 else 0.0,
        "qpu_access_time_us": access_us,
        "qpu_access_time_us_per_image": access_us / images if images else 0.0,
        "latency_ms": _percentiles(batches.scored - batches.enqueued, batches.images),
        "queue_wait_ms": _percentiles(batches.started - batches.enqueued, batches.images),
        "scoring_ms": _percentiles(batches.scored - batches.sampled, batches.images),
        "sampling_seconds": float(batches.sampling.sum()),
        "elapsed_seconds": elapsed_s,
    }


def chain_breaks(shares: Iterable[NDArray[np.floating[Any]]]) -> ChainBreaks | None:
    """Return the chain breaks of a run from ``shares`` (images, n) of each problem; None without any.

    They are added up one after another: those of a large run do not fit into memory.
    """
    total, images = np.zeros(0), 0
    for part in shares:
        if part.size:
            total = part.sum(axis=0, dtype=np.float64) + (total if images else 0.0)
            images += len(part)
    if not images:
        return None
    units = total / images
    worst = int(np.argmax(units))
    return ChainBreaks(float(np.mean(units)), worst, float(units[worst]))


def weighted_percentile(values: FloatArray, weights: CountArray, percent: float) -> float | None:
    """Return the smallest of ``values`` (N,) that ``percent`` % of ``weights`` do not exceed, if N > 0."""
    if not len(values):
        return None
    order = np.argsort(values)
    reached = np.cumsum(weights[order]) * 100.0 >= percent * weights.sum()
    return float(values[order[reached.argmax()]])


def _elapsed(batches: BatchTimes) -> float:
    if not len(batches.images):
        return 0.0
    return max(0.0, float(batches.scored.max() - batches.started.min()))


def _percentiles(seconds: FloatArray, images: CountArray) -> dict[str, float | None]:
    """Return the smallest values that 50, 95 and 99 % of the images do not exceed; None without images."""
    milliseconds = np.maximum(seconds, 0.0) * _MS_PER_S
    return {f"p{percent}": weighted_percentile(milliseconds, images, percent) for percent in (50, 95, 99)}
