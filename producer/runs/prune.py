"""Raw reads of finished runs: most of what a database holds, and needed only to score a run again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import ColumnElement, Select, delete, func, insert, select
from sqlalchemy.orm import Session, aliased

from schema.database import Database
from schema.errors import NotFound, ParameterError
from schema.states import FINISHED_RUNS, BatchState, CalibrationState, ProblemState
from schema.tables import Batch, Calibration, Event, Problem, Run, SampleSet

Expect = Callable[[str, int], Callable[[int], None]]  # a step's name and size: what is told of its progress

PRUNED = "pruned"
MAX_DAYS = 36_500
_UNSETTLED = (CalibrationState.WAITING, CalibrationState.FITTING)


@dataclass(frozen=True)
class Removed:
    """The raw reads of one run that went, or would go. bytes: as they are stored."""

    run_id: int
    problems: int
    bytes: int


def prune(
    database: Database,
    *,
    run: int | None = None,
    older_than_days: float | None = None,
    dry_run: bool = False,
    expect: Expect = lambda _name, _size: lambda _done: None,
) -> list[Removed]:
    """Remove the raw reads of a run, or of all that ended so many days ago; a batch at a time.

    The ledger, scores and statistics stay, and `events` say what is gone. Reads that an unfinished run scores
    again, or a calibration waits for, stay.

    Raises:
        ParameterError: neither or both are given, the run is not finished, or days are out of range.
        NotFound: there is no such run.
    """
    if (run is None) == (older_than_days is None):
        raise ParameterError("name a run, or say --older-than DAYS")
    if older_than_days is not None and not 0 <= older_than_days <= MAX_DAYS:
        raise ParameterError(f"older than {older_than_days:g} days: 0 to {MAX_DAYS:,} days")
    with database.reading() as session:
        if run is not None:
            _check(session, run)
        now = database.now(session)
        before = now if older_than_days is None else now - timedelta(days=older_than_days)
        chosen = _prunable() if run is None else _prunable().where(Run.id == run)
        rows = session.execute(chosen.where(Run.finished_at <= before)).all()
    removed: dict[int, Removed] = {}
    tick = expect("batches", len(rows))
    for batch, of, problems, size in rows:
        tick(1)
        if not dry_run and not _remove(database, batch):
            continue
        sofar = removed.get(of, Removed(of, 0, 0))
        removed[of] = Removed(of, sofar.problems + problems, sofar.bytes + size)
    return list(removed.values())


def is_pruned() -> ColumnElement[bool]:
    """Whether a problem's reads were removed on purpose."""
    return (
        select(Event.id)
        .where(Event.subject == "problems", Event.row == Problem.id, Event.target == PRUNED)
        .exists()
    )


def _check(session: Session, run: int) -> None:
    state = session.execute(select(Run.state).where(Run.id == run)).scalar()
    if state is None:
        raise NotFound(f"no run {run}: `annealq runs list` shows what there is")
    if state not in FINISHED_RUNS:
        raise ParameterError(f"run {run} is {state}: its reads are needed until it is finished")


def _prunable() -> Select[int, int, int, Any]:
    """Scored batches with reads that nobody needs: batch, run, problems, bytes."""
    again = aliased(Run)
    in_use = select(again.id).where(again.rescored_from == Run.id, again.finished_at.is_(None)).exists()
    calibrates = (
        select(Calibration.id)
        .where(Calibration.id == Run.calibrates, Calibration.state.in_(_UNSETTLED))
        .exists()
    )
    return (
        select(Batch.id, Run.id, func.count(), func.sum(func.length(SampleSet.data)))
        .join(Run, Run.id == Batch.run_id)
        .join(Problem, Problem.batch_id == Batch.id)
        .join(SampleSet, SampleSet.problem_id == Problem.id)
        .where(Run.state.in_(FINISHED_RUNS), Batch.state == BatchState.SCORED, ~in_use, ~calibrates)
        .group_by(Batch.id, Run.id)
        .order_by(Run.id, Batch.id)
    )


def _remove(database: Database, batch: int) -> bool:
    """In a transaction of its own, and only if still nobody needs the reads; returns whether that is so."""
    with database.transaction() as session:
        now = database.now(session)
        if session.execute(_prunable().where(Batch.id == batch)).first() is None:
            return False
        problems = select(Problem.id).where(Problem.batch_id == batch, Problem.state == ProblemState.ANSWERED)
        gone = delete(SampleSet).where(SampleSet.problem_id.in_(problems)).returning(SampleSet.problem_id)
        common = {"at": now, "subject": "problems", "source": ProblemState.ANSWERED, "target": PRUNED}
        why = "its raw reads were removed by `annealq runs prune`"
        rows = [{"row": problem, "why": why, **common} for problem in session.execute(gone).scalars()]
        session.execute(insert(Event), rows)
        return True
