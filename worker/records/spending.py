"""What runs have spent, kept as sums: budgets are looked at before every few problems, without a scan.

The sum for a run and a day (UTC) counts the problems that left on that day: with the solver by their
estimate, afterwards by what they were charged, and always with what they wasted. It is written in the
transaction that moves the problems, so it is what the ledger says, whatever dies.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date

from sqlalchemy import bindparam, func, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from schema.tables import Batch, Problem, Run, Spending
from schema.tables.costs import by_day, cost_us


@contextmanager
def booked(session: Session, batch: int, problems: Sequence[int] | None = None) -> Iterator[None]:
    """Let the body move problems of a batch, and write down by how much that changes what its run has spent.

    problems: all that the body moves so that they cost more or less; None: any of the batch. The body must
    be alone with the batch: its lease was renewed in this transaction.
    """
    if problems is not None and not problems:
        yield
        return
    before = _costs_us(session, batch, problems)
    yield
    change = _costs_us(session, batch, problems)
    change.subtract(before)
    if any(change.values()):
        run = session.execute(select(Batch.run_id).where(Batch.id == batch)).scalar_one()
        _add(session, run, change)


def of_run(session: Session, run: int) -> int:
    """QPU time that a run has spent, microseconds."""
    query = select(func.coalesce(func.sum(Spending.spent_us), 0)).where(Spending.run_id == run)
    return int(session.execute(query).scalar_one())


def of_day(session: Session, solver: str, day: date) -> int:
    """QPU time that all runs with a solver have spent on a day, microseconds."""
    query = select(func.coalesce(func.sum(Spending.spent_us), 0)).join(Run, Run.id == Spending.run_id)
    return int(session.execute(query.where(Spending.day == day, Run.solver == solver)).scalar_one())


def _costs_us(session: Session, batch: int, problems: Sequence[int] | None) -> Counter[date]:
    """By the day on which they left, microseconds."""
    if problems is None:
        return by_day(session.execute(_OF_BATCH, {"batch_": batch}))
    return by_day(session.execute(_OF_PROBLEMS, {"batch_": batch, "problems_": list(problems)}))


_OF_BATCH = select(Problem.sending_at, cost_us()).where(Problem.batch_id == bindparam("batch_"))
_OF_PROBLEMS = _OF_BATCH.where(Problem.id.in_(bindparam("problems_", expanding=True)))


def _add(session: Session, run: int, change: Counter[date]) -> None:
    insert = sqlite.insert if session.get_bind().dialect.name == "sqlite" else postgresql.insert
    rows = [{"run_id": run, "day": day, "spent_us": us} for day, us in sorted(change.items()) if us]
    statement = insert(Spending)
    raised = {"spent_us": Spending.spent_us + statement.excluded.spent_us}
    key = [Spending.run_id, Spending.day]
    session.execute(statement.on_conflict_do_update(index_elements=key, set_=raised), rows)
