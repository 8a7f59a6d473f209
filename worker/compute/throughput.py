"""Computes throughput figures of a run, from plain arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schema.errors import ParameterError

FloatArray = NDArray[np.float64]
CountArray = NDArray[np.int64]

_MS_PER_S = 1000.0


@dataclass(frozen=True)
class Percentiles:
    """The smallest values that 50, 95 and 99 % of the images do not exceed; None without images."""

    p50: float | None
    p95: float | None
    p99: float | None


@dataclass(frozen=True, eq=False)
class BatchTimes:
    """Images and times of every scored batch, all (N,): image counts int64, times float64 seconds.

    Attributes:
        enqueued, started, sampled, scored: moments on one clock, in the order of a batch's life.
        sampling: how long the annealer worked.

    Raises:
        ParameterError: lengths differ, a count is below 1, or a time is not finite.
    """

    images: CountArray
    enqueued: FloatArray
    started: FloatArray
    sampled: FloatArray
    scored: FloatArray
    sampling: FloatArray

    def __post_init__(self) -> None:
        times = (self.enqueued, self.started, self.sampled, self.scored, self.sampling)
        shapes = {np.shape(values) for values in (self.images, *times)}
        if len(shapes) != 1 or self.images.ndim != 1:
            raise ParameterError(f"every batch needs all its times; the arrays have shapes {sorted(shapes)}")
        if np.any(self.images < 1) or not all(np.isfinite(values).all() for values in times):
            raise ParameterError("a batch needs 1 image or more, and finite times")


@dataclass(frozen=True)
class SolverCounts:
    """Counts of a run from the ledger and the stored embeddings; all 0 for an annealer in this process.

    Attributes:
        sent: problems that the solver accepted.
        adopted: answers of a submission whose outcome had been unknown.
        resubmitted: problems sent again after it was certain that they had not arrived.
        duplicates: problems that the solver ran twice.
    """

    sent: int = 0
    adopted: int = 0
    resubmitted: int = 0
    duplicates: int = 0
    embedding_hits: int = 0
    embedding_misses: int = 0


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
    """Share of reads in which chains were broken, in [0, 1].

    Attributes:
        mean: over all chains.
        worst_unit: the unit, in Q's order, whose chains broke most.
        worst: its share.
    """

    mean: float
    worst_unit: int
    worst: float


@dataclass(frozen=True)
class SolverFigures:
    """What a run used of a solver with qubits; all empty for an annealer in this process.

    Attributes:
        estimated_us: expected charge of the answered problems.
        wasted_us: charge of duplicates.
        embedding_seconds_saved: duration of the searches whose embeddings were found in the database.
    """

    counts: SolverCounts = field(default_factory=SolverCounts)
    estimated_us: float = 0.0
    wasted_us: float = 0.0
    embedding_seconds_saved: float = 0.0
    times_us: SolverTimes = field(default_factory=SolverTimes)
    chain_breaks: ChainBreaks | None = None


@dataclass(frozen=True)
class Throughput:
    """Throughput figures of a run; see `compute_throughput`."""

    images: int
    images_per_second: float
    qpu_access_time_us: float
    qpu_access_time_us_per_image: float
    qpu_estimated_us: float
    qpu_wasted_us: float
    solver_time_us: SolverTimes
    problems_sent: int
    problems_adopted: int
    problems_resubmitted: int
    duplicates: int
    embedding_hits: int
    embedding_misses: int
    embedding_seconds_saved: float
    chain_breaks: ChainBreaks | None
    latency_ms: Percentiles
    queue_wait_ms: Percentiles
    scoring_ms: Percentiles
    sampling_seconds: float
    elapsed_seconds: float

    def to_dict(self) -> dict[str, object]:
        """Return the figures by name, percentiles as nested objects: ready for JSON."""
        return asdict(self)


def compute_throughput(
    batches: BatchTimes, qpu_access_time_us: FloatArray, solver: SolverFigures | None = None
) -> Throughput:
    """Compute the throughput of a run.

    ``elapsed_seconds`` is from the first batch's start to the last one's score, so that waiting for a time
    window does not count; ``images_per_second`` is 0 if nothing has elapsed. ``latency_ms`` is from enqueued
    to scored, ``queue_wait_ms`` from enqueued to started, ``scoring_ms`` from sampled to scored, all per
    image: every image has its batch's time. A time that is negative, because clocks disagree, counts as 0.

    Args:
        batches: times of the scored batches.
        qpu_access_time_us: (P,) float64, what each answered problem was charged.
        solver: what the run used of a solver with qubits.
    """
    solver = solver or SolverFigures()
    counts = solver.counts
    images = int(batches.images.sum())
    elapsed_s = _elapsed(batches)
    access_us = float(qpu_access_time_us.sum())
    return Throughput(
        images=images,
        images_per_second=images / elapsed_s if elapsed_s > 0.0 else 0.0,
        qpu_access_time_us=access_us,
        qpu_access_time_us_per_image=access_us / images if images else 0.0,
        qpu_estimated_us=solver.estimated_us,
        qpu_wasted_us=solver.wasted_us,
        solver_time_us=solver.times_us,
        problems_sent=counts.sent,
        problems_adopted=counts.adopted,
        problems_resubmitted=counts.resubmitted,
        duplicates=counts.duplicates,
        embedding_hits=counts.embedding_hits,
        embedding_misses=counts.embedding_misses,
        embedding_seconds_saved=solver.embedding_seconds_saved,
        chain_breaks=solver.chain_breaks,
        latency_ms=_image_percentiles(batches.scored - batches.enqueued, batches.images),
        queue_wait_ms=_image_percentiles(batches.started - batches.enqueued, batches.images),
        scoring_ms=_image_percentiles(batches.scored - batches.sampled, batches.images),
        sampling_seconds=float(batches.sampling.sum()),
        elapsed_seconds=elapsed_s,
    )


def chain_breaks(shares: Sequence[NDArray[np.floating[Any]]]) -> ChainBreaks | None:
    """Return the chain breaks of a run from ``shares`` (images, n) of each problem; None without any."""
    parts = [part for part in shares if part.size]
    if not parts:
        return None
    images = sum(len(part) for part in parts)
    units = sum(part.sum(axis=0, dtype=np.float64) for part in parts) / images
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


def _image_percentiles(seconds: FloatArray, images: CountArray) -> Percentiles:
    milliseconds = np.maximum(seconds, 0.0) * _MS_PER_S
    p50, p95, p99 = (weighted_percentile(milliseconds, images, percent) for percent in (50.0, 95.0, 99.0))
    return Percentiles(p50, p95, p99)
