"""Checks states against each other and their times, and finds abandoned leases."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, and_, case, func, or_, select
from sqlalchemy.orm import Session

from producer.doctor.finding import BACKUP, Finding
from producer.doctor.repairs import NOW, Clear, StateSteps
from schema.settings.worker import WorkerSettings
from schema.states import (
    FINISHED_BATCHES,
    BatchState,
    CalibrationState,
    EmbeddingState,
    FeatureSetState,
    NetworkState,
    PlanState,
    PreparationState,
    ProblemState,
    RunState,
    State,
)
from schema.tables import (
    Base,
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
from schema.tables.costs import IN_FLIGHT

_LEASES = 5  # an older one that has expired no running reconciler would leave

RUN_STATES = "run-states"
TIMES = "times"
LEASES = "leases"
SENDING = "sending"

# Table, state in which its rows are leased, and next state of a row whose lease is abandoned.
_LEASED: tuple[tuple[type[Base], State, State], ...] = (
    (Batch, BatchState.SAMPLING, BatchState.PENDING),
    (FeatureSet, FeatureSetState.COMPUTING, FeatureSetState.QUEUED),
    (Network, NetworkState.TRAINING, NetworkState.QUEUED),
    (CalibrationPlan, PlanState.PLANNING, PlanState.QUEUED),
    (Calibration, CalibrationState.FITTING, CalibrationState.WAITING),
    (Preparation, PreparationState.PREPARING, PreparationState.QUEUED),
    (Embedding, EmbeddingState.SEARCHING, EmbeddingState.FAILED),
)


def run_states(session: Session) -> Iterator[Finding]:
    """Check in ``session`` that ended runs have no unfinished batch, and done ones no failed batch."""
    ended = (RunState.DONE, RunState.FAILED, RunState.AGGREGATING)
    unfinished = func.count().filter(Batch.state.not_in(FINISHED_BATCHES))
    failed = func.count().filter(Batch.state == BatchState.FAILED)
    rows = session.execute(
        select(Run.id, Run.state, unfinished.label("unfinished"), failed.label("failed"))
        .join(Batch, Batch.run_id == Run.id)
        .where(Run.state.in_(ended))
        .group_by(Run.id, Run.state)
        .having(or_(unfinished > 0, and_(Run.state == RunState.DONE, failed > 0)))
        .order_by(Run.id)
    )
    return (_ended_early(row) for row in rows.all())


def _ended_early(row: Any) -> Finding:
    what = f"it is {row.state}, but {row.unfinished} of its batches are not finished"
    repair = None
    if row.unfinished == 0:
        what = f"it is done, but {row.failed} of its batches have failed"
        hint = f"scored images remain; `annealq runs rescore {row.id}` makes a run of these alone"
    elif row.state is RunState.FAILED:
        hint = f"resume it: `annealq runs resume {row.id}`"
    elif row.state is RunState.DONE:
        hint = "classify the images again: a done run cannot be resumed"
    else:
        path = (RunState.AGGREGATING, RunState.FAILED, RunState.QUEUED)
        values = (("finished_at", None), ("error", None), ("dispatched_at", None))
        repair = StateSteps(Run, row.id, path, "its batches were not finished", values)
        hint = "resume it: --repair"
    return Finding(RUN_STATES, "runs", row.id, what, hint, repair)


def times(session: Session) -> Iterator[Finding]:
    """Check in ``session`` the columns that states need, as far as constraints of the database do not."""
    needed: tuple[tuple[Any, tuple[State, ...], Any], ...] = (
        (Run, (RunState.RUNNING, RunState.AGGREGATING, RunState.DONE), Run.started_at),
        (Run, (RunState.PAUSED,), Run.paused_by),
        (Batch, (BatchState.SAMPLING, BatchState.SAMPLED, BatchState.SCORED), Batch.started_at),
        (Problem, (ProblemState.SENT,), Problem.sent_at),
    )
    for table, states, column in needed:
        yield from _lacking(session, table, column, table.state.in_(states))
    answered = and_(Problem.state == ProblemState.ANSWERED, Problem.times_sent > 0)
    for column in (Problem.sapi_id, Problem.sent_at, Problem.charged_us):
        yield from _lacking(session, Problem, column, answered)
    sent = Problem.state.in_(IN_FLIGHT)
    unsent = select(Problem.id, Problem.state).where(sent, Problem.times_sent == 0).order_by(Problem.id)
    for row, state in session.execute(unsent).all():
        yield Finding(TIMES, "problems", row, f"it is {state}, but its times_sent is 0", BACKUP)
    yield from _stale_values(session)


def _lacking(session: Session, table: Any, column: Any, where: ColumnElement[bool]) -> Iterator[Finding]:
    query = select(table.id, table.state).where(where, column.is_(None)).order_by(table.id)
    for row, state in session.execute(query).all():
        yield Finding(TIMES, table.__tablename__, row, f"it is {state}, but has no {column.key}", BACKUP)


def _stale_values(session: Session) -> Iterator[Finding]:
    """Check leases of rows that are not being processed, and pause reasons of runs that are not paused."""
    columns: list[tuple[Any, Any, ColumnElement[bool]]] = [
        (table, table.lease_until, table.state != leased)  # type: ignore[attr-defined]
        for table, leased, _ in _LEASED
    ]
    columns.append((Run, Run.paused_by, Run.state != RunState.PAUSED))
    for table, column, where in columns:
        query = select(table.id, table.state, column).where(where, column.is_not(None)).order_by(table.id)
        for row, state, value in session.execute(query).all():
            yield Finding(
                TIMES,
                table.__tablename__,
                row,
                f"it is {state}, but has {column.key} {value}",
                "clear it: --repair",
                Clear(table, row, column.key, value, state),
            )


def leases(session: Session, now: datetime, limits: WorkerSettings) -> Iterator[Finding]:
    """Check in ``session`` for leases that expired long before ``now``: no reconciler can be running."""
    before = now - timedelta(seconds=_LEASES * limits.lease_s)
    for table, leased, target in _LEASED:
        columns: Any = table
        query = (
            select(columns.id, columns.lease_until)
            .where(columns.state == leased, columns.lease_until < before)
            .order_by(columns.id)
        )
        for row, until in session.execute(query).all():
            yield _abandoned(table, row, until, leased, target)


def _abandoned(table: type[Base], row: int, until: datetime, leased: State, target: State) -> Finding:
    why = f"no worker has held it since {until:%Y-%m-%d %H:%M:%S} UTC"
    values: dict[str, Any] = {"lease_until": None, "error": why}
    if table is Embedding:
        values |= {"progress": None, "finished_at": NOW}
    else:
        values["dispatched_at"] = None
    if table is Batch:
        values["due_at"] = NOW
    repair = StateSteps(table, row, (leased, target), why, tuple(values.items()), until, is_leased=True)
    hint = "`annealq up` or `annealq reconciler` releases it, or make it due again: --repair"
    return Finding(LEASES, table.__tablename__, row, f"it is {leased}, but {why}", hint, repair)


def sending(session: Session, now: datetime, limits: WorkerSettings) -> Iterator[Finding]:
    """Check in ``session`` for submissions that are uncertain at ``now`` for longer than ``limits`` allow."""
    before = now - timedelta(seconds=limits.quarantine_s)
    idle = case(
        (Batch.state == BatchState.SAMPLING, Batch.lease_until < now),
        (Batch.state == BatchState.PENDING, Batch.due_at < now),
        else_=True,
    )
    rows = session.execute(
        select(Problem.id, Problem.label, Problem.sending_at, Batch.run_id, Batch.state, Run.solver)
        .join(Batch, Batch.id == Problem.batch_id)
        .join(Run, Run.id == Batch.run_id)
        .where(Problem.state == ProblemState.SENDING, Problem.sending_at < before, idle)
        .order_by(Problem.id)
    )
    for row in rows.all():
        resume = f" after `annealq runs resume {row.run_id}`" if row.state is BatchState.FAILED else ""
        what = (
            f"it was submitted to {row.solver} at {row.sending_at:%Y-%m-%d %H:%M:%S} UTC, but no worker has "
            f"searched for its label {row.label} since the quarantine of {limits.quarantine_s:g} s ended"
        )
        hint = (
            f"a worker searches for it{resume}: `annealq up`; "
            f"`annealq doctor --solver {row.solver}` shows what the solver has"
        )
        yield Finding(SENDING, "problems", row.id, what, hint)
