"""QPU time spent by runs, stored as sums so that budgets are checked without a scan of the ledger.

The sum of a run and a day (UTC) counts the problems submitted on that day: in flight by their estimate,
afterwards by their charge, and always with their waste. The transaction that moves the problems writes it, so
it agrees with the ledger after any crash.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date

from sqlalchemy import bindparam, func, select
from sqlalchemy.orm import Session

from schema.database.rows import insert_into
from schema.tables import Batch, Problem, Run, Spending
from schema.tables.costs import by_day, cost_us, round_charge


@contextmanager
def booked(session: Session, batch: int, problems: Sequence[int] | None = None) -> Iterator[None]:
    """Let the body move problems of ``batch``, then store the change of what its run has spent.

    The body must hold the lease of the batch, renewed in the transaction of ``session``.

    Args:
        problems: all problems whose cost the body changes; None: any of the batch.
    """
    if problems is not None and not problems:
        yield
        return
    before = _costs_us(session, batch, problems)
    yield
    after = _costs_us(session, batch, problems)
    change = {day: round_charge(after.get(day, 0.0) - before.get(day, 0.0)) for day in before | after}
    if any(change.values()):
        run = session.execute(select(Batch.run_id).where(Batch.id == batch)).scalar_one()
        _add(session, run, change)


def of_run(session: Session, run: int) -> float:
    """Read from ``session`` the QPU time that ``run`` has spent, in microseconds."""
    return of_runs(session, [run])


def of_runs(session: Session, runs: Sequence[int]) -> float:
    """Read from ``session`` the QPU time that all ``runs`` have spent, in microseconds."""
    query = select(func.coalesce(func.sum(Spending.spent_us), 0)).where(Spending.run_id.in_(runs))
    return round_charge(session.execute(query).scalar_one())


def since_day(session: Session, solver: str, day: date) -> float:
    """Read from ``session`` the QPU time, microseconds, that runs on ``solver`` spent since ``day`` (UTC)."""
    query = select(func.coalesce(func.sum(Spending.spent_us), 0)).join(Run, Run.id == Spending.run_id)
    return round_charge(session.execute(query.where(Spending.day >= day, Run.solver == solver)).scalar_one())


def _costs_us(session: Session, batch: int, problems: Sequence[int] | None) -> dict[date, float]:
    """Return the cost of problems by the day of their submission, in microseconds."""
    if problems is None:
        return by_day(session.execute(_OF_BATCH, {"batch_": batch}))
    return by_day(session.execute(_OF_PROBLEMS, {"batch_": batch, "problems_": list(problems)}))


_OF_BATCH = select(Problem.sending_at, cost_us()).where(Problem.batch_id == bindparam("batch_"))
_OF_PROBLEMS = _OF_BATCH.where(Problem.id.in_(bindparam("problems_", expanding=True)))


def _add(session: Session, run: int, change: Mapping[date, float]) -> None:
    rows = [{"run_id": run, "day": day, "spent_us": us} for day, us in sorted(change.items()) if us]
    statement = insert_into(session.get_bind().dialect, Spending)
    increased = {"spent_us": Spending.spent_us + statement.excluded.spent_us}
    key = [Spending.run_id, Spending.day]
    session.execute(statement.on_conflict_do_update(index_elements=key, set_=increased), rows)
