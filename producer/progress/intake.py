"""Says how far the images of a run are read, if they are read while it works."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from schema.states import FINISHED_RUNS, IntakeState
from schema.tables import Intake, Run

_SILENT = timedelta(seconds=60)  # a reader needs at most this for a few megabytes


@dataclass(frozen=True)
class IntakeProgress:
    """How far the source of a run is read.

    Attributes:
        images: that are read, and enqueued.
        total: that the source announces; None: it does not say.
        error: why the reading has stopped; None: it has not.
        read_at: when images were read last.
        text: all of it, for display.
    """

    images: int
    total: int | None
    error: str | None
    read_at: datetime
    text: str


def intake_of(session: Session, run_id: int, now: datetime) -> IntakeProgress | None:
    """Return how far run ``run_id`` is read ``now``; None: all of its images are there, or it is finished."""
    row = session.execute(
        select(Run.images, Intake.total, Intake.error, Intake.read_at)
        .join(Intake, Intake.id == Run.id)
        .where(Run.id == run_id, Intake.state != IntakeState.ENDED, Run.state.not_in(FINISHED_RUNS))
    ).first()
    if row is None:
        return None
    of = "" if row.total is None else f" of {row.total:,}"
    text = f"reading: {row.images:,}{of} images so far"
    if row.error is not None:
        text = f"{row.error}; repair that, and read on by `annealq runs resume {run_id}`"
    elif now - row.read_at > _SILENT:
        since = f"{row.read_at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
        text += f"; nobody has read more since {since}: read on by `annealq runs resume {run_id}`"
    return IntakeProgress(row.images, row.total, row.error, row.read_at, text)
