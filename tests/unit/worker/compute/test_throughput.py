"""Figures of a run, against numpy and against numbers worked out by hand."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schema.errors import ParameterError
from worker.compute.throughput import (
    BatchTimes,
    ChainBreaks,
    ChipFigure,
    SolverFigures,
    SolverTimes,
    chain_breaks,
    compute_throughput,
    weighted_percentile,
)


def times(images: list[int], *rows: list[float]) -> BatchTimes:
    return BatchTimes(np.array(images, dtype=np.int64), *(np.array(row, dtype=np.float64) for row in rows))


def two_batches() -> BatchTimes:
    """90 images wait 1 s and take 3 s in all; 10 images wait 2 s and take 10 s."""
    return times([90, 10], [100.0, 100.0], [101.0, 102.0], [102.5, 109.0], [103.0, 110.0], [1.5, 7.0])


@given(
    st.lists(st.tuples(st.floats(0.0, 1e6), st.integers(1, 50)), min_size=1, max_size=20),
    st.sampled_from([1.0, 50.0, 95.0, 99.0, 100.0]),
)
def test_percentiles_are_those_of_the_images_written_out(pairs, percent: float) -> None:
    values, weights = np.array([value for value, _ in pairs]), np.array([weight for _, weight in pairs])
    expected = np.percentile(np.repeat(values, weights), percent, method="inverted_cdf")
    assert weighted_percentile(values, weights, percent) == expected


def test_figures_of_two_batches() -> None:
    solver = SolverFigures(
        problems_sent=5,
        problems_adopted=1,
        problems_resubmitted=2,
        duplicates=3,
        embedding_hits=4,
        embedding_misses=6,
        qpu_estimated_us=4100.0,
        qpu_wasted_us=50.0,
        qpu_charge_estimated_us=30.0,
        qpu_wasted_estimated_us=20.0,
        embedding_seconds_saved=7.5,
        solver_time_us=SolverTimes(1.0, 2.0, 3.0, 4.0, 5.0, 6.0),
        chain_breaks=ChainBreaks(0.25, 3, 0.5),
        problems_misprogrammed=1,
        qpu_misprogrammed_us=15.0,
        inverse_temperature=4.5,
        coupling_bias=-0.02,
        chip={"inverse_temperature": ChipFigure(4.5, 4.25, 4.75, (4.0, 5.0))},
    )
    figures = compute_throughput(two_batches(), np.array([1000.0, 3000.0]), solver)
    assert figures == {
        "images": 100,
        "images_per_second": pytest.approx(100.0 / 9.0),
        "qpu_access_time_us": 4000.0,
        "qpu_access_time_us_per_image": 40.0,
        "qpu_estimated_us": 4100.0,
        "qpu_wasted_us": 50.0,
        "qpu_charge_estimated_us": 30.0,
        "qpu_wasted_estimated_us": 20.0,
        "solver_time_us": {
            "programming": 1.0,
            "sampling": 2.0,
            "anneal": 3.0,
            "readout": 4.0,
            "delay": 5.0,
            "overhead": 6.0,
        },
        "problems_sent": 5,
        "problems_adopted": 1,
        "problems_resubmitted": 2,
        "duplicates": 3,
        "embedding_hits": 4,
        "embedding_misses": 6,
        "embedding_seconds_saved": 7.5,
        "chain_breaks": {"mean": 0.25, "worst_unit": 3, "worst": 0.5},
        "problems_misprogrammed": 1,
        "qpu_misprogrammed_us": 15.0,
        "inverse_temperature": 4.5,
        "coupling_bias": -0.02,
        "chip": {"inverse_temperature": {"median": 4.5, "low": 4.25, "high": 4.75, "usual": (4.0, 5.0)}},
        "latency_ms": {"p50": 3000.0, "p95": 10_000.0, "p99": 10_000.0},
        "queue_wait_ms": {"p50": 1000.0, "p95": 2000.0, "p99": 2000.0},
        "scoring_ms": {"p50": 500.0, "p95": 1000.0, "p99": 1000.0},
        "sampling_seconds": 8.5,
        "elapsed_seconds": 9.0,
    }


def test_figures_are_plain_json() -> None:
    figures = compute_throughput(two_batches(), np.array([1000.0]))
    assert json.loads(json.dumps(figures, allow_nan=False)) == figures


def test_a_run_without_scored_batches_has_figures() -> None:
    figures = compute_throughput(times([], [], [], [], [], []), np.empty(0))
    assert figures["images_per_second"] == 0.0
    assert figures["qpu_access_time_us_per_image"] == 0.0
    assert figures["latency_ms"] == {"p50": None, "p95": None, "p99": None}


def test_clocks_that_disagree_give_no_negative_times() -> None:
    figures = compute_throughput(times([5], [100.0], [99.0], [99.2], [98.0], [0.1]), np.empty(0))
    assert figures["queue_wait_ms"]["p50"] == 0.0
    assert figures["latency_ms"]["p99"] == 0.0
    assert (figures["elapsed_seconds"], figures["images_per_second"]) == (0.0, 0.0)


def test_impossible_times_are_refused() -> None:
    with pytest.raises(ParameterError, match="all its times"):
        times([1], [0.0], [0.0, 1.0], [0.0], [0.0], [0.0])
    with pytest.raises(ParameterError, match="0 images or more"):
        times([-1], [0.0], [0.0], [0.0], [0.0], [0.0])
    with pytest.raises(ParameterError, match="finite"):
        times([1], [0.0], [np.nan], [0.0], [0.0], [0.0])


def test_chain_breaks_are_averaged_over_images_not_over_problems() -> None:
    parts = [np.array([[0.0, 0.3, 0.0]] * 3), np.array([[0.4, 0.1, 0.0]])]
    found = chain_breaks(parts)
    assert found is not None
    assert found.mean == pytest.approx((3 * 0.3 + 0.5) / 12)
    assert found.worst_unit == 1
    assert found.worst == pytest.approx((3 * 0.3 + 0.1) / 4)
    assert chain_breaks([]) is None
