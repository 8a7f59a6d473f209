"""Applies windows and deadlines: pauses runs whose window is closed, resumes them, and ends late ones.

A run past its deadline ends `failed`, with the images scored by then. That is final: QPU time is not spent on
a result that nobody waits for any more. The run is first paused, so that problems in flight are collected;
then its batches are marked failed, and it ends as any other run does.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import and_, or_, select
from sqlalchemy.orm import Session

from schema.calendar.run_hours import RunHours, format_time
from schema.database import transition
from schema.messages import Message, Task
from schema.states import LIVE_RUNS, RESUMED, BatchState, PausedBy, ProblemState, RunState
from schema.tables import Batch, Problem, Run
from schema.tables.costs import IN_FLIGHT
from worker.records import problems, runs
from worker.records.attempts import finish_attempt
from worker.records.retries import Discard

_AT_ONCE = 500  # batches marked failed in one transaction; the next pass takes the rest


def apply_windows(session: Session, *, now: datetime) -> list[Message]:
    """Pause, resume or expire at ``now`` in ``session`` every run with a window or deadline.

    Returns:
        Hints for runs whose batches are all finished now.
    """
    columns = (Run.id, Run.state, Run.paused_by, Run.paused_at, Run.window, Run.opened_until, Run.deadline_at)
    paused = and_(Run.state == RunState.PAUSED, Run.paused_by != PausedBy.DEADLINE)
    has_hours = or_(Run.window.is_not(None), Run.deadline_at.is_not(None))
    query = select(*columns).where(has_hours, or_(Run.state.in_(LIVE_RUNS), paused))
    for row in session.execute(query.order_by(Run.id)).all():
        hours = RunHours.of(row.window, row.opened_until, row.deadline_at)
        if hours.has_expired(now):
            _expire(session, row.id, row.state, hours, now)
        elif row.state in LIVE_RUNS:
            pause_if_closed(session, row.id, hours, now=now)
        elif row.paused_by is PausedBy.WINDOW and hours.may_resume(row.paused_at, now):
            runs.resume(session, row.id, "its window is open", now=now)
    return _discard_expired(session, now)


def pause_if_closed(session: Session, run: int, hours: RunHours, *, now: datetime) -> bool:
    """Pause a live ``run`` at ``now`` in ``session`` if its ``hours`` are closed; return whether they are."""
    if hours.is_open(now):
        return False
    runs.pause(session, run, PausedBy.WINDOW, hours.explain(now), now=now)
    return True


def defer_outside_window(session: Session, batch: int, run: int, *, now: datetime) -> bool:
    """Return whether the claimed ``batch`` of ``run`` must not be sampled at ``now``; then pause the run.

    Problems in flight are collected at any time. ``session`` holds the claim.
    """
    columns = (Run.state, Run.window, Run.opened_until, Run.deadline_at)
    row = session.execute(select(*columns).where(Run.id == run)).one()
    hours = RunHours.of(row.window, row.opened_until, row.deadline_at)
    if row.state not in LIVE_RUNS:
        return False
    if hours.has_expired(now):
        _expire(session, run, row.state, hours, now)
    elif not pause_if_closed(session, run, hours, now=now):
        return False
    query = select(Problem.id).where(Problem.batch_id == batch, Problem.state.in_(IN_FLIGHT)).limit(1)
    return session.execute(query).first() is None


def _expire(session: Session, run: int, state: RunState, hours: RunHours, now: datetime) -> None:
    """Pause a run whose deadline has passed."""
    values = {"paused_by": PausedBy.DEADLINE, "pause_reason": _too_late(hours), "paused_at": now}
    if state is not RunState.PAUSED:
        transition(session, run, state, RunState.PAUSED, now=now, why=_too_late(hours), **values)
        return
    target = runs.state_before_pause(session, run)
    transition(session, run, RunState.PAUSED, target, now=now, why=_too_late(hours), **RESUMED)
    transition(session, run, target, RunState.PAUSED, now=now, why=_too_late(hours), **values)


def _discard_expired(session: Session, now: datetime) -> list[Message]:
    """Mark the batches of runs past their deadline failed, once they have no problems in flight."""
    query = (
        select(Batch.id, Run.deadline_at)
        .join(Run, Run.id == Batch.run_id)
        .where(
            Run.state == RunState.PAUSED,
            Run.paused_by == PausedBy.DEADLINE,
            Batch.state == BatchState.PENDING,
            Batch.id.not_in(select(Problem.batch_id).where(Problem.state.in_(IN_FLIGHT))),
        )
        .order_by(Batch.id)
        .limit(_AT_ONCE)
    )
    hints = []
    for batch, deadline_at in session.execute(query).all():
        reserved = select(Problem.id).where(Problem.batch_id == batch, Problem.state == ProblemState.RESERVED)
        problems.cancel_reserved(session, session.execute(reserved).scalars().all(), now=now)
        decision = Discard(_too_late(RunHours(deadline_at=deadline_at)))
        run = finish_attempt(session, Batch, batch, decision, now=now, source=BatchState.PENDING)
        if run is not None:
            hints.append(Message(Task.AGGREGATE_RUN, run))
    return hints


def _too_late(hours: RunHours) -> str:
    return (
        "its deadline has passed"
        if hours.deadline_at is None
        else f"its deadline, {format_time(hours.deadline_at)}, has passed"
    )
