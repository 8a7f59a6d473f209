"""Estimates of the QPU time of problems by a solver's properties, whole microseconds."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import structlog
from dwave.cloud.solver import StructuredSolver

from schema.errors import Refused
from schema.parameters import Parameters
from worker.sapi.charges import conversion_rate, number

log = structlog.get_logger()

# For a solver without a timing model: no QPU that D-Wave has published takes longer. Its slowest programming
# with thermalization is that of Advantage2_system1, its slowest readout that of Advantage_system4.
_PROGRAMMING_US, _READOUT_US, _DELAY_US = 34_600.0, 250.0, 21.0
_ANNEAL_US = 20.0


def estimate_us(solver: StructuredSolver, parameters: Parameters, qubits: int) -> int:
    """Return the expected charge, microseconds, of a problem with ``parameters`` on ``qubits`` qubits.

    A solver that states no timing model is assumed to be as slow as the slowest QPU that D-Wave has
    published; admission learns from its first answers what it charges.

    Raises:
        Refused: the problem would run longer than ``solver`` allows.
    """
    times, reads = anneal_parameters(parameters), parameters.reads
    try:
        access_us = float(solver.estimate_qpu_access_time(qubits, num_reads=reads, **times))
        _check_duration(solver, parameters, access_us)
    except (KeyError, ValueError, TypeError) as error:
        anneal_us = _anneal_us(parameters, solver.properties)
        access_us = _PROGRAMMING_US + reads * (anneal_us + _READOUT_US + _DELAY_US)
        log.warning("no timing model", solver=solver.name, assumed_us=round(access_us), error=str(error))
    return int(access_us / conversion_rate(solver.properties) + 0.5)


def anneal_parameters(parameters: Parameters) -> dict[str, Any]:
    """Return the schedule or time of an anneal by the solver's names; empty for the solver's default."""
    if parameters.anneal_schedule is not None:
        return {"anneal_schedule": [list(point) for point in parameters.anneal_schedule]}
    return {} if parameters.annealing_time_us is None else {"annealing_time": parameters.annealing_time_us}


def _check_duration(solver: StructuredSolver, parameters: Parameters, access_us: float) -> None:
    """Refuse a problem that runs too long by D-Wave's formula.

    It counts the times that a user can set, and the readout: (anneal + pause after the read + readout) x
    reads + pause after programming.
    """
    data = solver.properties["problem_timing_data"]
    fixed_us = data["typical_programming_time"] + parameters.reads * data["qpu_delay_time_per_sample"]
    low, high = solver.properties.get("problem_run_duration_range", (0.0, math.inf))
    if not low <= (duration_us := access_us - fixed_us) <= high:
        raise Refused(
            f"{parameters.reads:,} reads run for {duration_us:,.0f} us, a problem on {solver.name} may run "
            f"for {high:,.0f} us: use fewer reads"
        )


def _anneal_us(parameters: Parameters, properties: Mapping[str, Any]) -> float:
    if parameters.anneal_schedule is not None:
        return parameters.anneal_schedule[-1][0]
    return parameters.annealing_time_us or number(properties.get("default_annealing_time")) or _ANNEAL_US
