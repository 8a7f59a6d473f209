"""SQL for the QPU time of problems: charged, in flight and both together. Nobody else computes it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import date
from typing import Any

from sqlalchemy import ColumnElement, case, func

from schema.states import ProblemState
from schema.tables.runs import Problem

IN_FLIGHT = (ProblemState.SENDING, ProblemState.SENT)  # submitted or being submitted, not answered yet


def charged_us() -> ColumnElement[float]:
    """Return the microseconds that a problem and its duplicates were charged; 0 before an answer."""
    return func.coalesce(Problem.charged_us, 0) + Problem.wasted_us


def in_flight_us() -> ColumnElement[float]:
    """Return the microseconds that a problem is expected to be charged while it is in flight, else 0."""
    return case((Problem.state.in_(IN_FLIGHT), func.coalesce(Problem.estimated_us, 0)), else_=0)


def cost_us() -> ColumnElement[float]:
    """Return the microseconds that count against budgets: charged, or expected to be charged."""
    return charged_us() + in_flight_us()


def by_day(problems: Iterable[Any]) -> Counter[date]:
    """Add up rows (sending_at, microseconds) in ``problems`` by day (UTC), without those never submitted."""
    costs: Counter[date] = Counter()
    for sending_at, us in problems:
        if sending_at is not None:
            costs[sending_at.date()] += us
    return costs
