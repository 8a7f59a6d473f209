"""Limits of a solver by its properties, which both sides check: a producer before it enqueues a run."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from schema.errors import Refused
from schema.parameters import Parameters

# Couplers of a qubit on an ideal chip.
_DEGREES = {"chimera": 6, "pegasus": 15, "zephyr": 20}


def check_parameters(name: str, properties: Mapping[str, Any], parameters: Parameters) -> None:
    """Raise Refused if ``parameters`` are out of the ranges in the ``properties`` of solver ``name``."""
    low, high = properties.get("num_reads_range", (1, math.inf))
    in_rounds = [parameters.reads, *(each.reads for each in parameters.rounds or ())]
    for reads in in_rounds:
        if not low <= reads <= high:
            raise Refused(f"{reads:,} reads: {name} takes {low:,} to {high:,} in a problem")
    time_us, schedule = parameters.annealing_time_us, parameters.anneal_schedule
    if time_us is not None:
        low, high = properties.get("annealing_time_range", (0.0, math.inf))
        if not low <= time_us <= high:
            raise Refused(f"an anneal of {time_us:g} us: {name} takes {low:g} to {high:g} us")
    if schedule is not None:
        is_reverse = schedule[0][1] == 1
        most = properties.get("max_anneal_schedule_points", len(schedule)) + is_reverse
        if len(schedule) > most:
            raise Refused(f"an anneal schedule of {len(schedule)} points: {name} takes {most}")
        if is_reverse:
            raise Refused(
                "an anneal schedule that starts at s = 1 needs initial states, which annealq does not "
                "submit: start it at s = 0"
            )
        time_us = schedule[-1][0]
    _, high = properties.get("problem_run_duration_range", (0.0, math.inf))
    reads = max(in_rounds)
    if reads * (time_us or 0.0) > high:  # without readout, which depends on the qubits
        raise Refused(
            f"{reads:,} reads of {time_us:,.0f} us: a problem on {name} may run for {high:,.0f} "
            "us: use fewer reads"
        )


def fewest_qubits(properties: Mapping[str, Any], units: int, interactions: int) -> int:
    """Return the qubits that a model needs at least on a solver with ``properties``.

    A unit with D interactions needs a chain of at least (D - 2) / (d - 2) qubits, if a qubit has d couplers.

    Args:
        units, interactions: of the model.
    """
    degree = _DEGREES.get(str(properties.get("topology", {}).get("type")))
    return units if degree is None else max(units, -(-2 * (interactions - units) // (degree - 2)))


def check_size(
    name: str, properties: Mapping[str, Any], units: int, interactions: int, qubits: int, couplers: int
) -> None:
    """Raise Refused if a model cannot be embedded, which counting shows.

    Args:
        name, properties: of the solver.
        units, interactions: of the model.
        qubits, couplers: that work on the solver's chip.
    """
    needed = fewest_qubits(properties, units, interactions)
    for what, fewest, there in (
        ("qubits", needed, qubits),
        ("couplers", interactions + needed - units, couplers),
    ):
        if fewest > there:
            raise Refused(
                f"{units:,} units with {interactions:,} interactions need at least {fewest:,} {what}, {name} "
                f"has {there:,}: use a smaller network, fold its visible units, or a larger solver"
            )
