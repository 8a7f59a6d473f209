"""What a problem of the ledger counts as, in QPU time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import date
from typing import Any

from sqlalchemy import ColumnElement, case, func

from schema.states import ProblemState
from schema.tables import Problem

IN_FLIGHT = (ProblemState.SENDING, ProblemState.SENT)


def cost_us() -> ColumnElement[int]:
    """Microseconds: with the solver its estimate, afterwards what it was charged; and always its waste."""
    expected, charged = func.coalesce(Problem.estimated_us, 0), func.coalesce(Problem.charged_us, 0)
    return case((Problem.state.in_(IN_FLIGHT), expected), else_=charged) + Problem.wasted_us


def by_day(problems: Iterable[Any]) -> Counter[date]:
    """Sums by the day (UTC) of rows (sending_at, microseconds); those that never left are left out."""
    costs: Counter[date] = Counter()
    for sending_at, us in problems:
        if sending_at is not None:
            costs[sending_at.date()] += us
    return costs
