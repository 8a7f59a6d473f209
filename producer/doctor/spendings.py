"""Checks the sums of QPU time, which budgets are compared with, against the problems."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.orm import Session

from producer.doctor.finding import BACKUP, Finding
from producer.doctor.repairs import record, require_unchanged
from schema.errors import StaleState
from schema.states import BatchState
from schema.tables import Batch, Problem, Run, Spending
from schema.tables.costs import STEP_US, by_day, cost_us, round_charge

SPENDINGS = "spendings"


def spendings(session: Session) -> Iterator[Finding]:
    """Check in ``session`` the QPU time of each run by its sums against that of its problems."""
    stored = (
        select(Spending.run_id, func.sum(Spending.spent_us).label("us")).group_by(Spending.run_id).subquery()
    )
    summed = (
        select(Batch.run_id, func.sum(cost_us()).label("us"))
        .join(Problem, Problem.batch_id == Batch.id)
        .where(Problem.sending_at.is_not(None))
        .group_by(Batch.run_id)
        .subquery()
    )
    stored_us, summed_us = func.coalesce(stored.c.us, 0), func.coalesce(summed.c.us, 0)
    rows = session.execute(
        select(Run.id, stored_us, summed_us)
        .outerjoin(stored, stored.c.run_id == Run.id)
        .outerjoin(summed, summed.c.run_id == Run.id)
        .where(func.abs(stored_us - summed_us) > STEP_US / 2)
        .order_by(Run.id)
    )
    for run, sums_us, problems_us in rows.all():
        what = f"its sums say {sums_us:,.1f} us of QPU time, its problems say {problems_us:,.1f} us"
        if sums_us < problems_us:
            repair = Resum(run, round_charge(sums_us))
            yield Finding(SPENDINGS, "runs", run, what, "add them up again: --repair", repair)
        else:  # spent time counts, even if its problems are missing
            hint = f"problems are missing: {BACKUP}; budgets count the sums"
            yield Finding(SPENDINGS, "runs", run, what, hint)


@dataclass(frozen=True)
class Resum:
    """Add up a run's problems again, if its sums have not changed and no batch is being sampled."""

    run: int
    before_us: float

    def apply(self, session: Session, now: datetime) -> None:
        sums = select(Spending.spent_us).where(Spending.run_id == self.run).with_for_update()
        if round_charge(sum(session.execute(sums).scalars())) != self.before_us:
            raise StaleState(f"run {self.run} has changed its sums in the meantime")
        # A worker that moves a problem holds its batch, and changes the sums in the same transaction.
        busy = select(Batch.id).where(Batch.run_id == self.run, Batch.state == BatchState.SAMPLING)
        if session.execute(busy.limit(1)).first() is not None:
            raise StaleState(f"run {self.run} is being sampled: `annealq runs pause {self.run}` first")
        problems = select(Problem.sending_at, cost_us()).join(Batch, Batch.id == Problem.batch_id)
        days = by_day(session.execute(problems.where(Batch.run_id == self.run)))
        session.execute(delete(Spending).where(Spending.run_id == self.run))
        rows = [{"run_id": self.run, "day": day, "spent_us": us} for day, us in sorted(days.items()) if us]
        if rows:
            session.execute(insert(Spending), rows)
        change = f"{self.before_us} -> {round_charge(sum(days.values()))} us"
        record(session, "spendings", self.run, "added up", change, now=now)


@dataclass(frozen=True)
class BookDuplicates:
    """Enter duplicates of a problem, and what they cost. A worker looks again, and corrects the statistics.

    Attributes:
        before: duplicates, and microseconds wasted, as they were read.
        after: the same, as they are to be.
    """

    problem: int
    batch: int
    before: tuple[int, float]
    after: tuple[int, float]

    def apply(self, session: Session, now: datetime) -> None:
        # A worker that moves a problem writes its batch first, too.
        session.execute(select(Batch.id).where(Batch.id == self.batch).with_for_update())
        names = ("duplicates", "wasted_us")
        require_unchanged(session, Problem, self.problem, dict(zip(names, self.before, strict=True)))
        values = {**dict(zip(names, self.after, strict=True)), "recheck_at": now, "rechecks": 0}
        session.execute(update(Problem).where(Problem.id == self.problem).values(values))
        query = select(Problem.sending_at, Batch.run_id).join(Batch, Batch.id == Problem.batch_id)
        sending_at, run = session.execute(query.where(Problem.id == self.problem)).one()
        if sending_at is not None:
            more_us = round_charge(self.after[1] - self.before[1])
            row = (Spending.run_id == run, Spending.day == sending_at.date())
            added = update(Spending).where(*row).values(spent_us=Spending.spent_us + more_us)
            if not session.execute(added).rowcount:  # type: ignore[attr-defined]  # an UPDATE's result has it
                new = {"run_id": run, "day": sending_at.date(), "spent_us": more_us}
                session.execute(insert(Spending).values(new))
        duplicates, wasted_us = zip(self.before, self.after, strict=True)
        change = "{} -> {}, ".format(*duplicates) + "{:.1f} -> {:.1f} us wasted".format(*wasted_us)
        record(session, "problems", self.problem, "duplicates", change, now=now)
