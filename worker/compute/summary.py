"""Computes the statistics of a run from its rows."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, astuple
from statistics import median
from typing import Any

import numpy as np

from schema.codecs import arrays
from worker.compute import chip_alarm, throughput
from worker.compute.controls import Controls
from worker.compute.throughput import SolverFigures, SolverTimes
from worker.records.runs import Figures, ProblemFacts

# Name in the statistics of a run, and field of what is measured of a problem.
_CHIP = (("inverse_temperature", "beta"), ("chain_breaks", "chain_breaks"), ("field_errors", "fields"))


def summarise(
    figures: Figures, controls: Controls | None = None, stored_breaks: Iterable[tuple[bytes, int]] = ()
) -> dict[str, Any]:
    """Return what `runs.statistics` stores for ``figures`` and the ``controls`` of the accuracy.

    See `throughput.compute_throughput`.

    Args:
        stored_breaks: shares of broken chains of each problem, as `problems` stores them, and its images.
    """
    columns = np.array([astuple(batch) for batch in figures.batches], dtype=np.float64).reshape(-1, 6).T
    images, enqueued, started, sampled, scored, sampling = columns
    times = throughput.BatchTimes(images.astype(np.int64), enqueued, started, sampled, scored, sampling)
    charged_us = np.array([problem.charged_us for problem in figures.problems], dtype=np.float64)
    return {
        **throughput.compute_throughput(times, charged_us, _solver(figures, stored_breaks)),
        **_calibration(figures),
        # Lists of runs would count them again for each page.
        "labelled_images": figures.labelled,
        "correct_images": figures.correct,
        "controls": None if controls is None else asdict(controls),
    }


def _calibration(figures: Figures) -> dict[str, Any]:
    """Return the expected calibration error (ECE) of the probabilities, and the bins that it is made of.

    ECE is the mean over labelled images of |accuracy - mean probability| of their bin (Guo et al. 2017, On
    calibration of modern neural networks, arXiv 1706.04599, eq. 3). None without labels or probabilities.
    """
    bins = figures.reliability
    images = sum(each.images for each in bins)
    errors = [abs(each.correct - each.images * each.probability) for each in bins]
    return {
        "calibration_error": sum(errors) / images if images else None,
        "reliability": [asdict(each) for each in bins],
    }


def _solver(figures: Figures, stored_breaks: Iterable[tuple[bytes, int]]) -> SolverFigures:
    problems, searches_s = figures.problems, figures.searches_s
    misses = sum(searched_s > 0.0 for searched_s in searches_s)
    answered = [problem for problem in problems if problem.timing or problem.charged_us]
    estimated = [problem for problem in problems if problem.charge_estimated]
    # Problems of later rounds have other reads, and cannot be compared.
    first = [problem for problem in problems if problem.round == 1]
    measured = [problem.measured for problem in first if problem.measured and not problem.misprogrammed]
    return SolverFigures(
        qpu_estimated_us=float(sum(problem.estimated_us for problem in answered)),
        qpu_wasted_us=round(sum(problem.wasted_us for problem in problems), 1),
        qpu_charge_estimated_us=round(sum(problem.charged_us for problem in estimated), 1),
        qpu_wasted_estimated_us=round(sum(problem.wasted_us for problem in estimated), 1),
        solver_time_us=_times(answered),
        problems_sent=sum(problem.accepted for problem in problems),
        problems_adopted=sum(problem.adopted for problem in problems),
        problems_resubmitted=sum(max(problem.times_sent - 1, 0) for problem in problems),
        duplicates=sum(problem.duplicates for problem in problems),
        embedding_hits=len(searches_s) - misses,
        embedding_misses=misses,
        # A run that waited for a search saved nothing: without the database it would have searched as well.
        embedding_seconds_saved=0.0 if misses else float(sum(figures.embeddings_s)),
        chain_breaks=throughput.chain_breaks(
            arrays.decode_chain_breaks(data, images) for data, images in stored_breaks
        ),
        problems_misprogrammed=sum(problem.misprogrammed for problem in problems),
        qpu_misprogrammed_us=round(
            sum(problem.wasted_us for problem in problems if problem.misprogrammed), 1
        ),
        inverse_temperature=median(float(each["beta"]) for each in measured) if measured else None,
        coupling_bias=median(float(each["coupling_bias"]) for each in measured) if measured else None,
        chip={name: _chip(field, measured, figures.earlier) for name, field in _CHIP if measured},
    )


def _chip(
    field: str, measured: Sequence[dict[str, Any]], earlier: Sequence[dict[str, Any]]
) -> throughput.ChipFigure:
    low, middle, high = chip_alarm.usual(measured, field)
    past = chip_alarm.usual(earlier, field) if len(earlier) >= chip_alarm.LEAST else None
    return throughput.ChipFigure(middle, low, high, None if past is None else (past[0], past[2]))


def _times(answered: Sequence[ProblemFacts]) -> SolverTimes:
    """Sum the solver's own figures; a figure for one read counts for each read of its problem."""
    return SolverTimes(
        programming=_sum(answered, "qpu_programming_time"),
        sampling=_sum(answered, "qpu_sampling_time"),
        anneal=_sum(answered, "qpu_anneal_time_per_sample", each_read=True),
        readout=_sum(answered, "qpu_readout_time_per_sample", each_read=True),
        delay=_sum(answered, "qpu_delay_time_per_sample", each_read=True),
        overhead=_sum(answered, "qpu_access_overhead_time"),
    )


def _sum(answered: Sequence[ProblemFacts], name: str, *, each_read: bool = False) -> float:
    total = 0.0
    for problem in answered:
        value = float((problem.timing or {}).get(name, 0.0))
        # A solver's figures are not checked elsewhere: NaN must not spoil the sum.
        total += (value if math.isfinite(value) else 0.0) * (problem.reads if each_read else 1)
    return total
