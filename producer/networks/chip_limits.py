"""Refuses, before a run is enqueued, what no known chip of its solver can take."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from schema.calendar.run_hours import format_time
from schema.errors import ParameterError, Refused
from schema.network.architecture import Architecture
from schema.parameters import Parameters, QpuChoice, Solver, Visible
from schema.solver_limits import check_parameters, check_size
from schema.tables import Chip, Network


def refuse_unfit(session: Session, network: int, solver: Solver, parameters: Parameters) -> None:
    """Check ``network`` and ``parameters`` against the chips of ``solver`` that ``session`` knows.

    Chips are known once a worker has used them. All that a run may use must refuse it; others than those are
    left to the worker.

    Raises:
        ParameterError: names the limit, the chip, and what to do.
    """
    chips = _known_chips(session, solver, parameters.qpu) if solver.is_remote else []
    if not chips:
        return
    stored = session.execute(select(Network.architecture).where(Network.id == network)).scalar_one()
    architecture = Architecture.from_dict(stored)
    first = 1 if parameters.visible is Visible.FOLDED else 0
    units, interactions = sum(architecture.sizes[first:]), sum(architecture.couplers[first:])
    refusals = []
    for chip in chips:
        try:
            check_parameters(chip.name, chip.properties, parameters)
            check_size(chip.name, chip.properties, units, interactions, chip.qubits, chip.couplers)
        except Refused as error:
            seen = f"as of {format_time(chip.seen_at)}"
            refusals.append(f"{error} ({seen}; if the solver has changed, `annealq embeddings find` asks it)")
            continue
        return
    raise ParameterError(refusals[0])


def least_problem_us(session: Session, solver: Solver, parameters: Parameters) -> float:
    """Return the least that a problem with ``parameters`` may be charged on ``solver``, microseconds.

    It counts programming, anneals and pauses of the chip that takes the least, among those that ``session``
    knows and the run may use, without any readout; 0 if one of them is not known.
    """
    chips = _known_chips(session, solver, parameters.qpu)
    return min((_least_us(chip.properties, parameters) for chip in chips), default=0.0)


def _least_us(properties: dict[str, Any], parameters: Parameters) -> float:
    def number(values: Any, name: str, default: float = 0.0) -> float:
        value = values.get(name) if isinstance(values, dict) else None
        return float(value) if isinstance(value, int | float) and value > 0 else default

    timing = properties.get("problem_timing_data")
    if parameters.anneal_schedule is not None:
        anneal_us = parameters.anneal_schedule[-1][0]
    else:
        anneal_us = parameters.annealing_time_us or number(properties, "default_annealing_time")
    pause_us = number(timing, "qpu_delay_time_per_sample")
    access_us = number(timing, "typical_programming_time") + parameters.reads * (anneal_us + pause_us)
    return access_us / number(properties, "quota_conversion_rate", 1.0)


def _known_chips(session: Session, solver: Solver, qpu: str | None) -> list[Any]:
    """Return the newest graph of each chip that a run may use; none if one of them is not known."""
    columns = (Chip.name, Chip.properties, Chip.qubits, Chip.couplers, Chip.seen_at)
    rows = session.execute(select(*columns).where(Chip.solver == solver).order_by(Chip.seen_at, Chip.id))
    newest: dict[str, Any] = {row.name: row for row in rows}
    names = QpuChoice.parse(qpu).names
    if not names:
        return list(reversed(newest.values()))
    return [newest[name] for name in names] if newest.keys() >= set(names) else []
