"""Removes raw reads of finished runs, which fill most of a database, or whole runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import ColumnElement, Select, delete, func, insert, select
from sqlalchemy.orm import Session, aliased

from schema.database import Database, record_event, renderings
from schema.errors import NotFound, ParameterError
from schema.states import FINISHED_RUNS, BatchState, CalibrationState, ProblemState
from schema.tables import Batch, Calibration, Event, Problem, Run, SampleSet, Spending
from schema.tables.runs import is_answered

# Given the name and the size of a step: the function that reports its progress.
StartStep = Callable[[str, int], Callable[[int], None]]

PRUNED = "pruned"
DELETED = "deleted by `annealq runs delete`"
MAX_DAYS = 36_500
_UNSETTLED = (CalibrationState.WAITING, CalibrationState.FITTING)


@dataclass(frozen=True)
class Removed:
    """The raw reads of one run that were removed, or would be; ``bytes`` as stored."""

    run_id: int
    problems: int
    bytes: int


def prune(
    database: Database,
    *,
    run: int | None = None,
    older_than_days: float | None = None,
    dry_run: bool = False,
    start_step: StartStep = lambda _name, _size: lambda _done: None,
) -> list[Removed]:
    """Remove the raw reads of ``run``, or of all runs finished at least ``older_than_days`` ago.

    Each batch is a transaction of ``database``. The ledger, scores and statistics stay, and
    `events` record the removal. Reads that an unfinished run or calibration needs stay.

    Args:
        dry_run: remove nothing, only return what would be removed.
        start_step: starts the display of a step's progress.

    Raises:
        ParameterError: neither or both are given, the run is not finished, or days are out of range.
        NotFound: the run does not exist.
    """
    if (run is None) == (older_than_days is None):
        raise ParameterError("name either a run or --older-than DAYS")
    if older_than_days is not None and not 0 <= older_than_days <= MAX_DAYS:
        raise ParameterError(f"--older-than is {older_than_days:g} days; it must be 0 to {MAX_DAYS:,} days")
    with database.reading() as session:
        if run is not None:
            _check(session, run)
        now = database.now(session)
        before = now if older_than_days is None else now - timedelta(days=older_than_days)
        chosen = _prunable() if run is None else _prunable().where(Run.id == run)
        rows = session.execute(chosen.where(Run.finished_at <= before)).all()
    removed: dict[int, Removed] = {}
    advance = start_step("batches", len(rows))
    for batch, run_id, problems, size in rows:
        advance(1)
        if not dry_run and not _remove(database, batch):
            continue
        so_far = removed.get(run_id, Removed(run_id, 0, 0))
        removed[run_id] = Removed(run_id, so_far.problems + problems, so_far.bytes + size)
    return list(removed.values())


def delete_run(database: Database, run: int, *, with_charges: bool = False) -> None:
    """Delete ``run`` from ``database``: its images, reads, scores and problems. Its events stay.

    Args:
        with_charges: also if it was charged QPU time, which budgets of days and months and the comparison of
            the ledger with the solver's problems then no longer know.

    Raises:
        NotFound: the run does not exist.
        ParameterError: it is not finished, was made for a calibration, other runs score its reads again, or
            it was charged.
    """
    with database.transaction() as session:
        _check(session, run)
        again = session.execute(select(Run.id).where(Run.rescored_from == run).limit(1)).scalar()
        if again is not None:
            raise ParameterError(f"run {again} scores the reads of run {run} again: delete run {again} first")
        state, calibration = session.execute(select(Run.state, Run.calibrates).where(Run.id == run)).one()
        if calibration is not None:
            raise ParameterError(f"run {run} belongs to calibration {calibration}, which shows its accuracy")
        spent = select(func.coalesce(func.sum(Spending.spent_us), 0.0)).where(Spending.run_id == run)
        if (us := session.execute(spent).scalar_one()) and not with_charges:
            raise ParameterError(
                f"run {run} was charged {us / 1e6:,.6f} s of QPU time, which budgets count: "
                f"remove its reads only, `annealq runs prune {run}`, or add --with-charges"
            )
        session.execute(delete(Run).where(Run.id == run))
        record_event(session, "runs", run, state, state, now=database.now(session), why=DELETED)


def is_pruned() -> ColumnElement[bool]:
    """Return the condition that the reads of a problem were removed on purpose."""
    return (
        select(Event.id)
        .where(Event.subject == "problems", Event.row == Problem.id, Event.target == PRUNED)
        .exists()
    )


def _check(session: Session, run: int) -> None:
    state = session.execute(select(Run.state).where(Run.id == run)).scalar()
    if state is None:
        raise NotFound(f"no run {run}: `annealq runs list` shows all runs")
    if state not in FINISHED_RUNS:
        raise ParameterError(
            f"run {run} is {state} and needed until it is finished: `annealq runs cancel {run}` ends it"
        )


def _prunable() -> Select[int, int, int, Any]:
    """Select scored batches whose reads nothing needs: batch, run, problems, bytes."""
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
    """Remove the reads of ``batch``; return False if they are needed again."""
    with database.transaction() as session:
        now = database.now(session)
        if session.execute(_prunable().where(Batch.id == batch)).first() is None:
            return False
        problems = select(Problem.id).where(Problem.batch_id == batch, is_answered())
        gone = delete(SampleSet).where(SampleSet.problem_id.in_(problems)).returning(SampleSet.problem_id)
        common = {"at": now, "subject": "problems", "source": ProblemState.ANSWERED, "target": PRUNED}
        why = "its raw reads were removed by `annealq runs prune`"
        rows = [{"row": problem, "why": why, **common} for problem in session.execute(gone).scalars()]
        session.execute(insert(Event), rows)
        renderings.remove_sample_sets(session, batch)
        return True
