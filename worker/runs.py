"""Reads and writes at the end of a run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from schema.database import advance
from schema.states import BatchState, ProblemState, RunState
from schema.tables import Batch, Problem, Run


@dataclass(frozen=True)
class BatchTimes:
    """When one batch was where, in seconds since the epoch, and how long the annealer worked on it."""

    images: int
    enqueued: float
    started: float
    sampled: float
    scored: float
    sampling_s: float


@dataclass(frozen=True)
class Figures:
    """What a run's statistics are computed from."""

    batches: tuple[BatchTimes, ...]  # scored ones
    failed_batches: int
    first_error: str | None
    problems_sent: int  # those that left this process
    charged_us: tuple[int, ...]  # for each answered problem


def start_aggregating(session: Session, run: int, *, now: datetime) -> bool:
    """Move a run whose batches are all at their end to `aggregating`; False: not ready, or finished.

    A run that is found in `aggregating` was left there by a crash: it is done again.
    """
    row = session.execute(
        select(Run.state, Run.batches, Run.batches_scored, Run.batches_failed).where(Run.id == run)
    ).first()
    if row is None or row.batches_scored + row.batches_failed < row.batches:
        return False
    if row.state is RunState.AGGREGATING:
        return True
    if row.state not in (RunState.RUNNING, RunState.PAUSED):
        return False
    advance(session, run, row.state, RunState.AGGREGATING, at=now, dispatched_at=now)
    return True


def load_figures(session: Session, run: int) -> Figures:
    """Read what the statistics need; one row for each batch, none for an image."""
    times = (Batch.created_at, Batch.started_at, Batch.sampled_at, Batch.scored_at)
    rows = session.execute(
        select(Batch.count, *times, func.coalesce(Batch.sampling_us, 0))
        .where(Batch.run_id == run, Batch.state == BatchState.SCORED)
        .order_by(Batch.ordinal)
    )
    failed = session.execute(
        select(func.count(), func.min(Batch.error)).where(
            Batch.run_id == run, Batch.state == BatchState.FAILED
        )
    ).one()
    problems = session.execute(
        select(Problem.sent_at, func.coalesce(Problem.charged_us, 0))
        .join(Batch, Batch.id == Problem.batch_id)
        .where(Batch.run_id == run, Problem.state == ProblemState.ANSWERED)
    ).all()
    return Figures(
        batches=tuple(_times(row) for row in rows),
        failed_batches=failed[0],
        first_error=failed[1],
        problems_sent=sum(sent_at is not None for sent_at, _ in problems),
        charged_us=tuple(charged_us for _, charged_us in problems),
    )


def finish(
    session: Session, run: int, figures: Figures, statistics: dict[str, Any], *, now: datetime
) -> None:
    """Store the statistics and end the run: `failed` when a batch was given up, else `done`.

    Raises:
        StaleState: somebody else has finished it.
    """
    error = None
    target = RunState.DONE
    if figures.failed_batches:
        target = RunState.FAILED
        error = f"{figures.failed_batches} of its batches failed; the first error: {figures.first_error}"
    advance(
        session,
        run,
        RunState.AGGREGATING,
        target,
        at=now,
        why=error,
        statistics=statistics,
        error=error,
        finished_at=now,
    )


def _times(row: Sequence[Any]) -> BatchTimes:
    images, *stamps, sampling_us = row
    enqueued, started, sampled, scored = (stamp.timestamp() for stamp in stamps)
    return BatchTimes(images, enqueued, started, sampled, scored, sampling_us / 1e6)
