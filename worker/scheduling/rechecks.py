"""Says when a solver is searched again for duplicates, and books those that are found.

A listing may lag behind by minutes: a problem that was looked for in vain, and sent again, appears later.
Such problems are looked for 5 and 30 minutes, 3, 12 and 24 hours later, and when their run ends.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any

from sqlalchemy import BindParameter, ColumnElement, and_, func, or_, select, update
from sqlalchemy.orm import Session

from schema.database import Database, record_event
from schema.states import ProblemState
from schema.tables import Batch, Problem, Run
from worker.records import spending

LOOKS = (1, 6, 36, 144, 288)  # when to look, in units of `recheck_s`
_AT_ONCE = 500  # problems that are looked for at a time


@dataclass(frozen=True)
class PossibleDuplicate:
    """A problem that a solver may have several times.

    Attributes:
        sapi_id: of the one whose fate the ledger has; None if the solver gave no id.
        written_off: nobody could tell what it was charged, so that its estimate counts.
    """

    id: int
    batch: int
    run: int
    label: str
    sapi_id: str | None
    state: ProblemState
    estimated_us: int
    written_off: bool
    timing: dict[str, Any] | None
    duplicates: int
    wasted_us: float
    rechecks: int


@dataclass(frozen=True)
class Look:
    """What a solver had under the label of ``problem``.

    Attributes:
        duplicates: further problems.
        wasted_us: what it charged without an answer, all in all, microseconds.
        unfinished: some of them may still be charged.
    """

    problem: PossibleDuplicate
    duplicates: int
    wasted_us: float
    unfinished: bool


def first_look(now: datetime, recheck_s: float) -> datetime:
    """Return when to look for a problem that is sent again at ``now``; ``recheck_s`` is the shortest wait."""
    return now + timedelta(seconds=LOOKS[0] * recheck_s)


def next_look(looks: int, now: datetime, recheck_s: float) -> datetime | None:
    """Return when to look after ``looks`` looks, the last at ``now``; None: no more."""
    if looks >= len(LOOKS):
        return None
    return now + timedelta(seconds=(LOOKS[looks] - LOOKS[looks - 1]) * recheck_s)


def due_runs(now: datetime | BindParameter[datetime]) -> ColumnElement[bool]:
    """Build the condition that a run has problems to look for at ``now``, a time or a parameter."""
    return Run.id.in_(select(Batch.run_id).join(Problem, Problem.batch_id == Batch.id).where(_due(now)))


def look_at_once(session: Session, run: int, *, now: datetime) -> None:
    """Let the problems of ``run`` be looked for at ``now``, if they are to be looked for at all."""
    batches = select(Batch.id).where(Batch.run_id == run)
    where = (Problem.recheck_at > now, Problem.batch_id.in_(batches))
    session.execute(update(Problem).where(*where).values(recheck_at=now))


def claim(session: Session, run: int, *, now: datetime, recheck_s: float) -> list[PossibleDuplicate]:
    """Return the problems to look for at ``now``: those of ``run``, and of others on the same QPU.

    If the worker dies, they are due again ``recheck_s`` seconds later.
    """
    solver, qpu = session.execute(select(Run.solver, _qpu()).where(Run.id == run)).one()
    same = and_(Run.solver == solver, _qpu().is_(None) if qpu is None else _qpu() == qpu)
    due = select(Problem.id).join(Batch, Batch.id == Problem.batch_id).join(Run, Run.id == Batch.run_id)
    due = due.where(same, _due(now)).order_by(Problem.id).limit(_AT_ONCE)
    later = {"recheck_at": now + timedelta(seconds=recheck_s)}
    # The second condition: another worker may claim the same rows.
    statement = update(Problem).where(Problem.id.in_(due), _due(now)).values(later).returning(Problem.id)
    return _read(session, Problem.id.in_(session.execute(statement).scalars().all()))


def of_batch(session: Session, batch: int) -> list[PossibleDuplicate]:
    """Read from ``session`` the problems of ``batch`` that the solver may have several times."""
    unaccepted = and_(Problem.times_sent > 0, Problem.sapi_id.is_(None))
    several = or_(Problem.times_sent > 1, Problem.duplicates > 0, unaccepted)
    return _read(session, and_(Problem.batch_id == batch, several))


def store(session: Session, looks: Iterable[Look], *, now: datetime, recheck_s: float, claimed: bool) -> None:
    """Store in ``session`` what ``looks`` found at ``now``, and when to look again.

    Args:
        recheck_s: after this time, problems that have not finished are looked for again.
        claimed: the problems were claimed; otherwise the time of their next look stays.
    """
    for look in looks:
        problem = look.problem
        found = (look.duplicates, look.wasted_us)
        values: dict[str, Any] = dict(zip(("duplicates", "wasted_us"), found, strict=True))
        if look.unfinished:
            values["recheck_at"] = now + timedelta(seconds=recheck_s)
        elif claimed:
            values["rechecks"] = problem.rechecks + 1
            values["recheck_at"] = next_look(problem.rechecks + 1, now, recheck_s)
        session.execute(update(Problem).where(Problem.id == problem.id).values(values))
        if found != (problem.duplicates, problem.wasted_us):
            why = f"{look.duplicates} duplicates, {look.wasted_us:,.1f} us wasted"
            record_event(session, "problems", problem.id, None, problem.state, now=now, why=why)


def store_claimed(database: Database, looks: Sequence[Look], *, recheck_s: float) -> None:
    """Store ``looks`` for claimed problems in ``database``; correct what runs have spent, and statistics."""
    for batch, group in groupby(looks, key=lambda look: look.problem.batch):
        found = list(group)
        with database.transaction() as session:
            now = database.now(session)
            # A worker that holds the batch writes its row first, too.
            session.execute(select(Batch.id).where(Batch.id == batch).with_for_update())
            with spending.booked(session, batch):
                store(session, found, now=now, recheck_s=recheck_s, claimed=True)
            _correct_statistics(session, found[0].problem.run)


def _correct_statistics(session: Session, run: int) -> None:
    """Let the statistics of a finished run agree with its problems."""
    stored = select(Run.statistics).where(Run.id == run).with_for_update()
    statistics = session.execute(stored).scalar_one()
    if statistics is None:
        return
    sums = select(func.sum(Problem.duplicates), func.sum(Problem.wasted_us)).join(Batch)
    duplicates, wasted_us = session.execute(sums.where(Batch.run_id == run, Problem.times_sent > 0)).one()
    changed = {**statistics, "duplicates": int(duplicates or 0), "qpu_wasted_us": round(wasted_us or 0.0, 1)}
    if changed != statistics:
        session.execute(update(Run).where(Run.id == run).values(statistics=changed))


def _due(now: datetime | BindParameter[datetime]) -> ColumnElement[bool]:
    # A problem that is being sent is looked up by the worker that samples its batch.
    return and_(Problem.recheck_at <= now, Problem.state != ProblemState.SENDING)


def _qpu() -> ColumnElement[str | None]:
    chosen: ColumnElement[str | None] = Run.parameters["qpu"].as_string()
    return chosen


def _read(session: Session, where: ColumnElement[bool]) -> list[PossibleDuplicate]:
    columns = (
        Problem.id, Problem.batch_id, Batch.run_id, Problem.label, Problem.sapi_id, Problem.state,
        func.coalesce(Problem.estimated_us, 0), Problem.charge_estimated, Problem.timing, Problem.duplicates,
        Problem.wasted_us, Problem.rechecks,
    )  # fmt: skip
    query = select(*columns).join(Batch, Batch.id == Problem.batch_id).where(where)
    rows = session.execute(query.order_by(Problem.batch_id, Problem.id))
    return [PossibleDuplicate(*row) for row in rows]
