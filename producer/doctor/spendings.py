"""The sums that budgets are compared with, against the problems that they add up."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import delete, func, insert, select
from sqlalchemy.orm import Session

from producer.doctor.finding import BACKUP, Finding
from producer.doctor.repairs import record
from schema.errors import StaleState
from schema.states import BatchState
from schema.tables import Batch, Problem, Run, Spending
from schema.tables.costs import by_day, cost_us

SPENDINGS = "spendings"


def spendings(session: Session) -> Iterator[Finding]:
    """What each run has spent, by its sums and by its problems."""
    kept = (
        select(Spending.run_id, func.sum(Spending.spent_us).label("us")).group_by(Spending.run_id).subquery()
    )
    added = (
        select(Batch.run_id, func.sum(cost_us()).label("us"))
        .join(Problem, Problem.batch_id == Batch.id)
        .where(Problem.sending_at.is_not(None))
        .group_by(Batch.run_id)
        .subquery()
    )
    kept_us, added_us = func.coalesce(kept.c.us, 0), func.coalesce(added.c.us, 0)
    rows = session.execute(
        select(Run.id, kept_us, added_us)
        .outerjoin(kept, kept.c.run_id == Run.id)
        .outerjoin(added, added.c.run_id == Run.id)
        .where(kept_us != added_us)
        .order_by(Run.id)
    )
    for run, said_us, held_us in rows.all():
        what = f"its sums say {said_us:,} us of QPU time, its problems say {held_us:,} us"
        if said_us < held_us:
            repair = Resum(run, int(said_us))
            yield Finding(SPENDINGS, "runs", run, what, "add them up again: --repair", repair)
        else:  # what was spent is not forgotten because its rows are not there
            yield Finding(
                SPENDINGS, "runs", run, what, f"problems are missing: {BACKUP}; budgets count the sums"
            )


@dataclass(frozen=True)
class Resum:
    """Add up a run's problems again, if its sums are as they were seen and nobody is at work on it."""

    run: int
    seen_us: int

    def apply(self, session: Session, now: datetime) -> None:
        held = select(Spending.spent_us).where(Spending.run_id == self.run).with_for_update()
        if sum(session.execute(held).scalars()) != self.seen_us:
            raise StaleState(f"run {self.run} has spent something else by now")
        # Whoever moves a problem holds its batch, and adds to the sums at the end of the same transaction.
        busy = select(Batch.id).where(Batch.run_id == self.run, Batch.state == BatchState.SAMPLING)
        if session.execute(busy.limit(1)).first() is not None:
            raise StaleState(f"run {self.run} is being worked on: `annealq runs pause {self.run}` first")
        problems = select(Problem.sending_at, cost_us()).join(Batch, Batch.id == Problem.batch_id)
        days = by_day(session.execute(problems.where(Batch.run_id == self.run)))
        session.execute(delete(Spending).where(Spending.run_id == self.run))
        rows = [{"run_id": self.run, "day": day, "spent_us": us} for day, us in sorted(days.items()) if us]
        if rows:
            session.execute(insert(Spending), rows)
        change = f"{self.seen_us} -> {days.total()} us"
        record(session, "spendings", self.run, "added up", change, now=now)
