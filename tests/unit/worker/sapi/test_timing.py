"""Estimates, charges and limits of problems by the properties of a solver."""

from __future__ import annotations

from typing import Any

import pytest
from dwave.cloud.solver import StructuredSolver
from dwave.cloud.testing.mocks import qpu_pegasus_solver_data

from schema.errors import Refused
from schema.parameters import Parameters
from schema.solver_limits import check_parameters
from worker.sapi.charges import charge_us
from worker.sapi.timing import estimate_us

QUBITS = 5612
# As D-Wave documents an Advantage: a readout of all qubits takes 173 us.
TIMING = {
    "version": "1.0.0",
    "typical_programming_time": 14_200.0,
    "reverse_annealing_with_reinit_prog_time_delta": 0.0,
    "reverse_annealing_without_reinit_prog_time_delta": 5.55,
    "default_programming_thermalization": 1000.0,
    "default_annealing_time": 20.0,
    "readout_time_model": "pwl_log_log",
    "readout_time_model_parameters": [0.0, 3.749118, 1.2553, 2.238046],
    "qpu_delay_time_per_sample": 20.5,
    "reverse_annealing_with_reinit_delay_time_delta": -4.5,
    "reverse_annealing_without_reinit_delay_time_delta": -1.5,
    "default_readout_thermalization": 0.0,
    "decorrelation_max_nominal_anneal_time": 2000.0,
    "decorrelation_time_range": [500.0, 10000.0],
}


def solver(**properties: Any) -> StructuredSolver:
    config = qpu_pegasus_solver_data(2)
    changed = {"problem_run_duration_range": [0.0, 1_000_000.0], "problem_timing_data": TIMING, **properties}
    known = {**config["properties"], **changed}
    config["properties"] = {name: value for name, value in known.items() if value is not None}
    return StructuredSolver(client=None, data=config)


@pytest.mark.parametrize(
    ("timing", "rate", "expected"),
    [
        ({"qpu_access_time": 17_553.26}, 1, 17_553.3),
        ({"qpu_access_time": 17_553.26}, 3, 5_851.1),
        ({"qpu_access_time": 17_553.26}, None, 17_553.3),
        ({"qpu_access_time": 17_553.26}, 0, 17_553.3),
        ({"qpu_access_time": 0.0}, 1, 0.0),
        ({"qpu_access_time": -1.0}, 1, None),
        ({"qpu_sampling_time": 5.0}, 1, None),
        ({}, 1, None),
    ],
)
def test_a_charge(timing: dict[str, float], rate: float | None, expected: float | None) -> None:
    assert charge_us(timing, {"quota_conversion_rate": rate}) == expected


def test_an_estimate_is_the_clients_over_the_rate() -> None:
    access_us = solver().estimate_qpu_access_time(QUBITS, num_reads=100, annealing_time=50.0)
    parameters = Parameters(reads=100, annealing_time_us=50.0)
    assert estimate_us(solver(), parameters, QUBITS) == round(access_us)
    assert estimate_us(solver(quota_conversion_rate=2), parameters, QUBITS) == round(access_us / 2)


def test_the_run_time_is_limited_by_d_waves_formula() -> None:
    """Programming and delays do not count, but are charged."""
    assert estimate_us(solver(), Parameters(reads=5176), QUBITS) > 1_000_000
    with pytest.raises(Refused, match=r"5,177 reads run for 1,000,\d{3} us.*use fewer reads"):
        estimate_us(solver(), Parameters(reads=5177), QUBITS)


@pytest.mark.parametrize(
    "timing",
    [None, {**TIMING, "version": "2.0.0"}, {"version": "1.0.0"}, {**TIMING, "readout_time_model": "x"}],
)
def test_without_a_timing_model_the_slowest_qpu_is_assumed(timing: dict[str, Any] | None) -> None:
    unknown = solver(problem_timing_data=timing, default_annealing_time=None)
    for parameters, anneal_us in (
        (Parameters(reads=100), 20),
        (Parameters(reads=100, annealing_time_us=50.0), 50),
        (Parameters(reads=100, anneal_schedule=((0, 0), (20, 0.5), (60, 1))), 60),
    ):
        estimate = estimate_us(unknown, parameters, QUBITS)
        assert estimate == 34_600 + 100 * (anneal_us + 271)
        assert estimate > estimate_us(solver(), parameters, QUBITS)


def test_a_reverse_schedule_may_have_one_point_more_but_has_no_initial_state() -> None:
    def schedule(points: int, start: float) -> Parameters:
        steps = [(20.0 * k, 1.0 if k else start) for k in range(points)]
        return Parameters(reads=1, anneal_schedule=tuple(steps))

    limited = {"max_anneal_schedule_points": 4}
    check_parameters("it", limited, schedule(4, 0.0))
    for points, start, match in ((5, 0.0, "takes 4"), (6, 1.0, "takes 5"), (5, 1.0, "initial states")):
        with pytest.raises(Refused, match=match):
            check_parameters("it", limited, schedule(points, start))
