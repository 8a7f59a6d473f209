"""The batches of all runs: what waits for a worker, what does not, and since when. One query for everyone.

Batches of a paused or cancelled run are still `pending` in their table, but no worker takes them.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from schema.states import FINISHED_BATCHES, LIVE_RUNS, BatchState, RunState
from schema.tables import Batch, Run

_UNFINISHED = [state for state in BatchState if state not in FINISHED_BATCHES]
STATES = (*(state.value for state in BatchState), RunState.PAUSED.value, RunState.CANCELLED.value)


@dataclass(frozen=True)
class BatchCount:
    """Batches in one state, and their images."""

    batches: int = 0
    images: int = 0


@dataclass(frozen=True)
class DueBatches:
    """Batches that a worker may take now; ``oldest`` is when the first of them became due."""

    batches: int
    oldest: datetime | None

    def age_s(self, now: datetime) -> float:
        """Return the seconds that the oldest has waited ``now``; 0 if there is none."""
        return 0.0 if self.oldest is None else max((now - self.oldest).total_seconds(), 0.0)


def count_by_state(session: Session) -> dict[str, BatchCount]:
    """Return the batches of all runs in ``session`` by state.

    Unfinished batches of a paused run are `paused`, those of one that has ended are `cancelled`. It reads
    every batch that there is.
    """
    finished = select(Batch.state, func.count(), func.sum(Batch.count)).where(
        Batch.state.in_(FINISHED_BATCHES)
    )
    rows = session.execute(finished.group_by(Batch.state))
    ended = {state.value: BatchCount(batches, int(images)) for state, batches, images in rows}
    return count_unfinished(session) | ended


def count_unfinished(session: Session) -> dict[str, BatchCount]:
    """Return the unfinished batches of all runs in ``session``, as `count_by_state` does; it reads only them.

    There are none of the finished states.
    """
    rows = session.execute(
        select(Batch.state, Run.state, func.count(), func.sum(Batch.count))
        .join(Run, Run.id == Batch.run_id)
        .where(Batch.state.in_(_UNFINISHED))
        .group_by(Batch.state, Run.state)
    )
    counts = dict.fromkeys(STATES, BatchCount())
    for state, run, batches, images in rows:
        name = state.value
        if run not in LIVE_RUNS:
            name = (RunState.PAUSED if run is RunState.PAUSED else RunState.CANCELLED).value
        before = counts[name]
        counts[name] = BatchCount(before.batches + batches, before.images + int(images))
    return counts


def due(session: Session, now: datetime) -> DueBatches:
    """Return the batches in ``session`` that wait for a worker ``now``."""
    query = (
        select(func.count(), func.min(Batch.due_at))
        .join(Run, Run.id == Batch.run_id)
        .where(Batch.state == BatchState.PENDING, Batch.due_at <= now, Run.state.in_(LIVE_RUNS))
    )
    batches, oldest = session.execute(query).one()
    return DueBatches(batches, oldest)
