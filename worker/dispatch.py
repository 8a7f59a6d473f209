"""Chooses which batches get a hint next, and keeps the broker shallow.

Only a few hints wait in the broker at any time. Priority, pauses and limits are decided here,
in SQL, at the moment a worker has room, and so they act within a batch or two.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import func, or_, select, update
from sqlalchemy.orm import Session

from schema.database import Database
from schema.messages import Message, Task
from schema.states import LIVE_RUNS, BatchState
from schema.tables import Batch, Run
from worker.hints import Hints
from worker.settings import WorkerSettings


def dispatch(database: Database, settings: WorkerSettings, hints: Hints, after_s: float | None = None) -> int:
    """Send hints for due batches until enough wait in the broker; returns how many were sent.

    A hint that led to nothing for ``after_s`` (default: `rehint_s`) counts as lost.
    """
    after_s = settings.rehint_s if after_s is None else after_s
    with database.transaction() as session:
        now = database.now(session)
        batches = choose(session, now=now, at_most=settings.waiting_hints, after_s=after_s)
    hints.send(Message(Task.SAMPLE_BATCH, batch) for batch in batches)
    return len(batches)


def choose(session: Session, *, now: datetime, at_most: int, after_s: float) -> list[int]:
    """Mark and return the ids of the next due batches: highest priority first, then oldest run."""
    lost = now - timedelta(seconds=after_s)
    waiting = session.execute(
        select(func.count())
        .select_from(Batch)
        .join(Run, Run.id == Batch.run_id)
        .where(Run.state.in_(LIVE_RUNS), Batch.state == BatchState.PENDING, Batch.dispatched_at > lost)
    ).scalar_one()
    room = at_most - waiting
    # Topping up one by one would cost a query for each batch; half the room is early enough.
    if room <= at_most // 2:
        return []
    due = (
        select(Batch.id)
        .join(Run, Run.id == Batch.run_id)
        .where(
            Run.state.in_(LIVE_RUNS),
            Batch.state == BatchState.PENDING,
            Batch.due_at <= now,
            or_(Batch.dispatched_at.is_(None), Batch.dispatched_at <= lost),
        )
        .order_by(Run.priority.desc(), Run.id, Batch.ordinal)
        .limit(room)
        .with_for_update(skip_locked=True, of=Batch)  # PostgreSQL; SQLite has one writer anyway
    )
    chosen = list(session.execute(due).scalars())
    session.execute(update(Batch).where(Batch.id.in_(chosen)).values(dispatched_at=now))
    return chosen
