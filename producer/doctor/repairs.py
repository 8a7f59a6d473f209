"""Repairs: writes that are guarded by the values that were read, each with a row in `events`.

No repair submits a problem, and none deletes a sample set that can be decoded.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, delete, func, insert, select, update
from sqlalchemy.orm import Session

from schema.database import transition
from schema.errors import StaleState
from schema.quantities import count_text
from schema.states import BatchState, ProblemState, RunState, State
from schema.tables import Base, Batch, Classification, Event, Problem, Run, SampleSet

DOCTOR = "doctor: "
# The counters of a run, and what they count.
COUNTERS: dict[str, ColumnElement[int]] = {
    "images": func.coalesce(func.sum(Batch.count).filter(Batch.round == 1), 0),
    "batches": func.count(Batch.id),
    "batches_scored": func.count().filter(Batch.state == BatchState.SCORED),
    "batches_failed": func.count().filter(Batch.state == BatchState.FAILED),
}


@dataclass(frozen=True)
class Recount:
    """Count the rows of a run again, if the wrong counters still are as ``before``."""

    run: int
    before: tuple[tuple[str, int], ...]

    def apply(self, session: Session, now: datetime) -> None:
        # Lock the run's row first: whatever counts a batch writes it, too.
        columns = [getattr(Run, name) for name, _ in self.before]
        row = session.execute(select(*columns).where(Run.id == self.run).with_for_update()).first()
        if row is None or tuple(row) != tuple(value for _, value in self.before):
            raise StaleState(f"run {self.run} has changed its counters in the meantime")
        expressions = [COUNTERS[name].label(name) for name, _ in self.before]
        values = session.execute(select(*expressions).where(Batch.run_id == self.run)).one()._asdict()
        session.execute(update(Run).where(Run.id == self.run).values(**values))
        changes = ", ".join(f"{name} {value} -> {values[name]}" for name, value in self.before)
        record(session, "runs", self.run, "recounted", changes, now=now)


@dataclass(frozen=True)
class StateSteps:
    """Move a row through several states in one transaction.

    Attributes:
        path: the states; the first is the one that was read.
        values: columns to set with the last state.
        lease_until: the lease that was read; if it has changed, a worker holds the row again.
    """

    table: type[Base]
    row: int
    path: tuple[State, ...]
    why: str
    values: tuple[tuple[str, Any], ...] = ()
    lease_until: datetime | None = None
    is_leased: bool = False

    def apply(self, session: Session, now: datetime) -> None:
        if self.is_leased:
            require_unchanged(session, self.table, self.row, {"lease_until": self.lease_until})
        why = DOCTOR + self.why
        *between, last = self.path[1:]
        source = self.path[0]
        for state in between:
            stop = {"error": why, **({"finished_at": now} if isinstance(state, RunState) else {})}
            transition(session, self.row, source, state, now=now, why=why, **stop)
            source = state
        values = {name: now if value is NOW else value for name, value in self.values}
        transition(session, self.row, source, last, now=now, why=why, **values)


NOW = object()  # placeholder for the time of the repair in ``values``


@dataclass(frozen=True)
class Clear:
    """Set a column to NULL that is meaningless in the row's state."""

    table: type[Base]
    row: int
    column: str
    before: Any
    state: State

    def apply(self, session: Session, now: datetime) -> None:
        require_unchanged(session, self.table, self.row, {self.column: self.before, "state": self.state})
        key = self.table.__table__.c.id
        session.execute(update(self.table).where(key == self.row).values({self.column: None}))
        record(session, self.table.__tablename__, self.row, "cleared", self.column, now=now)


@dataclass(frozen=True)
class Remove:
    """Remove a row whose parent is missing, unless it has reads or charges by now."""

    table: type[Base]
    row: int
    why: str

    def apply(self, session: Session, now: datetime) -> None:
        key = self.table.__table__.c.id
        deleted = session.execute(delete(self.table).where(key == self.row, ~is_irreplaceable(self.table)))
        if not deleted.rowcount:  # type: ignore[attr-defined]  # a DELETE's result has it
            raise StaleState(f"{self.table.__tablename__} {self.row} is missing, or has reads")
        record(session, self.table.__tablename__, self.row, "removed", self.why, now=now)


@dataclass(frozen=True)
class RemoveClassifications:
    """Remove classifications of a batch that is not scored yet, or (``batch`` is None) of a missing run."""

    run: int
    batch: int | None
    why: str

    def apply(self, session: Session, now: datetime) -> None:
        where = [Classification.run_id == self.run]
        if self.batch is None:
            where.append(~select(Run.id).where(Run.id == self.run).exists())
        else:
            unscored = select(Batch.first_image, Batch.count).where(
                Batch.id == self.batch, Batch.state != BatchState.SCORED
            )
            batch = session.execute(unscored.with_for_update()).first()
            if batch is None:
                raise StaleState(f"batch {self.batch} is scored by now")
            where.append(Classification.image.between(batch.first_image, batch.first_image + batch.count - 1))
        deleted = session.execute(delete(Classification).where(*where))
        why = f"{count_text(deleted.rowcount, 'row')}: {self.why}"  # type: ignore[attr-defined]
        record(session, "classifications", self.run, "removed", why, now=now)


@dataclass(frozen=True)
class DiscardSamples:
    """Delete unreadable samples of a solver in the worker's process, and sample their batch again.

    A batch whose ``state`` is failed stays failed until its run is resumed.
    """

    batch: int
    problem: int
    state: BatchState
    why: str

    def apply(self, session: Session, now: datetime) -> None:
        require_unchanged(session, Batch, self.batch, {"state": self.state})
        local = (Problem.id == self.problem, Problem.times_sent == 0, Problem.sapi_id.is_(None))
        session.execute(delete(SampleSet).where(SampleSet.problem_id.in_(select(Problem.id).where(*local))))
        if not session.execute(delete(Problem).where(*local)).rowcount:  # type: ignore[attr-defined]
            raise StaleState(f"problem {self.problem} is missing, or was submitted")
        record(session, "problems", self.problem, "removed", self.why, now=now)
        if self.state is BatchState.SAMPLED:
            again: dict[str, Any] = {"attempts": 0, "error": None, "dispatched_at": None, "due_at": NOW}
            path = (BatchState.SAMPLED, BatchState.FAILED, BatchState.PENDING)
            StateSteps(Batch, self.batch, path, self.why, tuple(again.items())).apply(session, now)


def is_irreplaceable(table: type[Base]) -> ColumnElement[bool]:
    """Return the condition that a row of ``table`` has reads or charges, which cannot be replaced."""
    unspent = (ProblemState.RESERVED, ProblemState.CANCELLED)
    spent = (Problem.times_sent > 0) | Problem.state.not_in(unspent)
    if table is Problem:
        has_reads = select(SampleSet.id).where(SampleSet.problem_id == Problem.id).exists()
        return has_reads | spent
    if table is Batch:
        has_reads = (
            select(SampleSet.id)
            .join(Problem, Problem.id == SampleSet.problem_id)
            .where(Problem.batch_id == Batch.id)
            .exists()
        )
        return has_reads | select(Problem.id).where(Problem.batch_id == Batch.id, spent).exists()
    raise AssertionError(f"rows of {table.__tablename__} are never removed")


def require_unchanged(session: Session, table: type[Base], row: int, before: dict[str, Any]) -> None:
    """Lock a ``row`` of ``table`` in ``session``; raise StaleState unless its values are as ``before``."""
    columns = table.__table__.c
    query = select(*(columns[name] for name in before)).where(columns.id == row)
    values = session.execute(query.with_for_update()).first()
    if values is None or tuple(values) != tuple(before.values()):
        raise StaleState(f"{table.__tablename__} {row} has changed in the meantime")


def record(session: Session, table: str, row: int, word: str, why: str, *, now: datetime) -> None:
    """Note in ``session`` that ``row`` of ``table`` was changed at ``now`` without a change of its state.

    ``word`` names the change, ``why`` its reason.
    """
    session.execute(
        insert(Event).values(at=now, subject=table, row=row, source=None, target=word, why=DOCTOR + why)
    )
