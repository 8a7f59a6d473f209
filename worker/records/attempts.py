"""Ends attempts at leased work: rows are completed, released for a retry, or marked failed."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, and_, exists, false, or_, select
from sqlalchemy.orm import Session

from schema.database import transition, transition_all
from schema.parameters import Solver
from schema.settings.worker import WorkerSettings
from schema.states import BatchState, ProblemState, State
from schema.tables import (
    Batch,
    Calibration,
    CalibrationPlan,
    Embedding,
    FeatureSet,
    Network,
    Preparation,
    Problem,
    Run,
)
from schema.tables.runs import is_answered
from worker.records import runs
from worker.records.features import waiting
from worker.records.leases import STATES, HintedTable, LeasedTable, SimplyClaimed
from worker.records.retries import Discard, Retry, after_silence

_TABLES: tuple[HintedTable, ...] = (Batch, FeatureSet, Network, CalibrationPlan, Calibration, Preparation)
_REMOTE = [solver for solver in Solver if solver.is_remote]
# Later than this, a worker is more likely to die of an answer than while it waits for one.
_AWAITED = timedelta(days=1)
_AT_ONCE = 500  # rows released in one transaction; the next pass takes the rest


def complete_attempt(
    session: Session, table: SimplyClaimed, row: int, *, now: datetime, **values: Any
) -> None:
    """Make ``row`` of ``table`` ready at ``now`` in ``session``, with the columns ``values``.

    Raises:
        StaleState: no lease is held on the row.
    """
    states = STATES[table]
    values |= {"lease_until": None, "error": None, "finished_at": now}
    transition(session, row, states.held, states.done, now=now, **values)


def finish_attempt(
    session: Session,
    table: LeasedTable,
    row: int,
    decision: Retry | Discard,
    *,
    now: datetime,
    source: State | None = None,
) -> int | None:
    """Release ``row`` of ``table`` for a retry or mark it failed, by ``decision``, at ``now`` in ``session``.

    A batch that is given up with answers is `sampled`: once these are scored, it is marked failed.

    Args:
        source: state of the row, if no lease is held on it.

    Returns:
        The run to finish, if the row was the last of its batches.

    Raises:
        StaleState: the row is no longer in ``source``.
    """
    states = STATES[table]
    source = source or states.held
    target = states.waiting if isinstance(decision, Retry) else states.failed
    values = _values(table, decision, now)
    if target is BatchState.FAILED and source is not BatchState.SAMPLED and _is_answered(session, row):
        target = BatchState.SAMPLED
        values["sampled_at"] = now
    transition(session, row, source, target, now=now, why=decision.error, **values)
    if table is FeatureSet and target is states.failed:
        waiting.wake(session, row, now=now)  # what waits for it fails, and says why
    return runs.count_failed(session, row) if table is Batch and target is states.failed else None


def _is_answered(session: Session, batch: int) -> bool:
    """Return whether a problem of ``batch`` was answered."""
    answered = (Problem.batch_id == batch, is_answered())
    return session.execute(select(Problem.id).where(*answered).limit(1)).first() is not None


def discard_pending(session: Session, batch: int, error: str, *, now: datetime) -> int | None:
    """Mark the pending batches of the run of ``batch`` failed with ``error`` at ``now`` in ``session``.

    Batches with problems are left: they may have answers. The next refusal takes what this one has left.

    Returns:
        The run to finish, if none of its batches is left.
    """
    run = select(Batch.run_id).where(Batch.id == batch).scalar_subquery()
    untouched = ~exists().where(Problem.batch_id == Batch.id)
    pending = select(Batch.id).where(Batch.run_id == run, Batch.state == BatchState.PENDING, untouched)
    rows = session.execute(pending.order_by(Batch.id).limit(_AT_ONCE)).scalars().all()
    values = {"error": error, "dispatched_at": None}
    moved = transition_all(session, rows, BatchState.PENDING, BatchState.FAILED, now=now, why=error, **values)
    run_id = session.execute(select(Batch.run_id).where(Batch.id == batch)).scalar_one()
    return run_id if moved and runs.count_batch(session, run_id, failed=len(moved)) else None


def release_expired(session: Session, *, now: datetime, settings: WorkerSettings) -> list[int]:
    """Release in ``session`` every row whose lease expired before ``now``; ``settings`` limit the attempts.

    After its last attempt, a row is marked failed.

    Returns:
        Runs to finish: the rows marked failed were the last of their batches.
    """
    finished = []
    for table in _TABLES:
        is_held = table.state == STATES[table].held
        progressed = _progressed(now) if table is Batch else false()
        query = select(table.id, table.attempts, progressed).where(is_held, table.lease_until < now)
        alike: dict[tuple[int, bool], list[int]] = {}
        for row, attempts, has_progressed in session.execute(query.limit(_AT_ONCE)).all():
            alike.setdefault((attempts, bool(has_progressed)), []).append(row)
        for (attempts, has_progressed), rows in alike.items():
            decision = after_silence(attempts, settings, progressed=has_progressed)
            finished += _release(session, table, rows, decision, now)
    return finished


def _progressed(now: datetime) -> ColumnElement[bool]:
    """Build the condition that a batch made progress since it was claimed, or waits at ``now``.

    A problem of it was answered, or one was accepted within a day and is not answered yet, or it has none and
    a search for an embedding made progress.
    """
    own = exists().where(Problem.batch_id == Batch.id)
    searched = exists().where(Embedding.saved_at >= Batch.started_at)
    remote = exists().where(Run.id == Batch.run_id, Run.solver.in_(_REMOTE))
    awaited = own.where(Problem.state == ProblemState.SENT, Problem.sent_at >= now - _AWAITED)
    return or_(own.where(Problem.answered_at >= Batch.started_at), awaited, and_(~own, remote, searched))


def _release(
    session: Session, table: HintedTable, rows: list[int], decision: Retry | Discard, now: datetime
) -> list[int]:
    """End the attempts of rows that are still held; many at once if they are retried."""
    states = STATES[table]
    if isinstance(decision, Discard):
        runs_of = [finish_attempt(session, table, row, decision, now=now) for row in rows]
        return [run for run in runs_of if run is not None]
    values = _values(table, decision, now)
    transition_all(session, rows, states.held, states.waiting, now=now, why=decision.error, **values)
    return []


def _values(table: Any, decision: Retry | Discard, now: datetime) -> dict[str, Any]:
    """Return the columns to set together with the state."""
    values: dict[str, Any] = {
        "lease_until": None,
        "error": decision.error,
        "dispatched_at": None if table in (Batch, FeatureSet) else now,
    }
    if isinstance(decision, Discard):
        return values if table is Batch else values | {"finished_at": now}
    if not decision.counts:
        values["attempts"] = 0 if decision.progressed else table.attempts - 1
    if table is Batch:
        values["due_at"] = now + timedelta(seconds=decision.seconds)
    return values
