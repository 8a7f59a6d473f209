"""SQL for the QPU time of problems: charged, in flight and both together. Nobody else computes it."""

from __future__ import annotations

import math
from collections.abc import Iterable
from datetime import UTC, date, datetime, time
from functools import cache
from typing import Any

from sqlalchemy import ColumnElement, Select, bindparam, case, func, select
from sqlalchemy.orm import Session

from schema.states import ProblemState
from schema.tables.runs import Batch, Problem, Run, Spending

IN_FLIGHT = (ProblemState.SENDING, ProblemState.SENT)  # submitted or being submitted, not answered yet


STEP_US = 0.1  # of charges
# Answers that predict what the next problem is charged, among the newest problems of all chips.
_NEWEST, _NEWEST_SENT = 50, 1000


def round_charge(us: float) -> float:
    """Return ``us`` microseconds in steps of 0.1 us, as charges are: sums of floats are not exact."""
    return round(float(us), 1)


def charged_us() -> ColumnElement[float]:
    """Return the microseconds that a problem and its duplicates were charged; 0 before an answer."""
    return func.coalesce(Problem.charged_us, 0) + Problem.wasted_us


def in_flight_us() -> ColumnElement[float]:
    """Return the microseconds that a problem is expected to be charged while it is in flight, else 0."""
    return case((Problem.state.in_(IN_FLIGHT), func.coalesce(Problem.estimated_us, 0)), else_=0)


def cost_us() -> ColumnElement[float]:
    """Return the microseconds that count against budgets: charged, or expected to be charged."""
    return charged_us() + in_flight_us()


def scale_charge(charged_us: float, programming_us: float | None, reads: int, wanted: int) -> float:
    """Return what a problem would be charged with ``wanted`` reads, if it is ``charged_us`` with ``reads``.

    Programming, ``programming_us`` of it, costs the same for any number. If that is not stated, the result is
    the most that is possible.
    """
    if programming_us is None or reads < 1:
        return charged_us * max(wanted / max(reads, 1), 1.0)
    fixed_us = min(max(programming_us, 0.0), charged_us)
    return fixed_us + (charged_us - fixed_us) * wanted / reads


def charge_ratio(session: Session, graph_id: str) -> float:
    """Return what problems on a working graph are charged, as a multiple of their estimates; 1 if unknown.

    It is the 95th percentile of the newest answers' ratios, so that a few outliers do not count. Estimates
    are whole microseconds: smaller differences do not count, either.
    """
    rows = session.execute(_newest_charges(), {"graph": graph_id})
    ratios = sorted((charged or 0.0) / (estimated or 1) for charged, estimated in rows)
    return round(ratios[math.ceil(0.95 * len(ratios)) - 1], 4) if ratios else 1.0


@cache
def _newest_charges() -> Select[Any]:
    # A subquery with a limit: no plan may read all answers of the chip.
    columns = (Problem.graph_id, Problem.charged_us, Problem.estimated_us, Problem.charge_estimated)
    sent = select(*columns, Problem.answered_at).where(Problem.sending_at.is_not(None))
    newest = sent.order_by(Problem.sending_at.desc()).limit(_NEWEST_SENT).subquery().c
    stated = (newest.answered_at.is_not(None), ~newest.charge_estimated, newest.estimated_us > 0)
    query = select(newest.charged_us, newest.estimated_us)
    return query.where(newest.graph_id == bindparam("graph"), *stated).limit(_NEWEST)


def charged_by_solver(session: Session, since: date | None = None) -> dict[str, float]:
    """Return the microseconds that each solver was charged for problems submitted on or after a day (UTC).

    They are read from the sums of `spendings`, less what is expected of problems in flight: to add up all
    problems of a large database takes seconds.

    Args:
        since: the day; None: of all days.
    """
    spent = select(Run.solver, func.sum(Spending.spent_us)).join(Run, Run.id == Spending.run_id)
    waiting = select(
        select(Batch.run_id).where(Batch.id == Problem.batch_id).scalar_subquery().label("run"),
        func.sum(Problem.estimated_us).label("us"),
    ).where(Problem.state.in_(IN_FLIGHT))
    if since is not None:
        spent = spent.where(Spending.day >= since)
        waiting = waiting.where(Problem.sending_at >= datetime.combine(since, time(), UTC))
    charged = {solver: float(us) for solver, us in session.execute(spent.group_by(Run.solver))}
    in_flight = {row.run: row.us or 0 for row in session.execute(waiting.group_by("run"))}
    for run, solver in session.execute(select(Run.id, Run.solver).where(Run.id.in_(in_flight))):
        charged[solver] = charged.get(solver, 0.0) - in_flight[run]
    return {solver: max(round_charge(us), 0.0) for solver, us in charged.items()}


def by_day(problems: Iterable[Any]) -> dict[date, float]:
    """Add up rows (sending_at, microseconds) in ``problems`` by day (UTC), without those never submitted."""
    costs: dict[date, float] = {}
    for sending_at, us in problems:
        if sending_at is not None:
            costs[sending_at.date()] = round_charge(costs.get(sending_at.date(), 0.0) + us)
    return costs
