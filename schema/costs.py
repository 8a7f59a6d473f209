"""What a problem of the ledger counts as, in QPU time."""

from __future__ import annotations

from collections import Counter
from datetime import date

from sqlalchemy import ColumnElement, case, func, select
from sqlalchemy.orm import Session

from schema.states import ProblemState
from schema.tables import Batch, Problem

IN_FLIGHT = (ProblemState.SENDING, ProblemState.SENT)


def cost_us() -> ColumnElement[int]:
    """Microseconds: with the solver its estimate, afterwards what it was charged; and always its waste."""
    expected, charged = func.coalesce(Problem.estimated_us, 0), func.coalesce(Problem.charged_us, 0)
    return case((Problem.state.in_(IN_FLIGHT), expected), else_=charged) + Problem.wasted_us


def by_day_us(session: Session, where: ColumnElement[bool]) -> Counter[date]:
    """Microseconds of the problems of some batches, by the day (UTC) on which the problems left."""
    costs: Counter[date] = Counter()
    query = select(Problem.sending_at, cost_us()).join(Batch, Batch.id == Problem.batch_id)
    for sending_at, us in session.execute(query.where(where)):
        if sending_at is not None:
            costs[sending_at.date()] += us
    return costs
