"""Says how far the images of a run are read, if they are read while it works."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import and_, func, select
from sqlalchemy.orm import Session

from schema.tables import Intake, Run
from schema.tables.runs import is_being_read

_SILENT = timedelta(seconds=60)  # a reader needs at most this for a few megabytes


@dataclass(frozen=True)
class IntakeProgress:
    """How far the source of a run is read.

    Attributes:
        images: that are read, and enqueued.
        total: that the source announces; None: it does not say.
        to_come: of these, those that are not read yet; None: it does not say.
        error: why the reading has stopped; None: it has not.
        read_at: when images were read last.
        text: all of it, for display.
    """

    images: int
    total: int | None
    to_come: int | None
    error: str | None
    read_at: datetime
    text: str


def intake_of(session: Session, run_id: int, now: datetime) -> IntakeProgress | None:
    """Return how far run ``run_id`` is read ``now``; None: all of its images are there, or it is finished."""
    row = session.execute(
        select(Run.images, Intake.rows, Intake.total, Intake.error, Intake.read_at)
        .join(Intake, Intake.id == Run.id)
        .where(Run.id == run_id, is_being_read())
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
    to_come = None if row.total is None else row.total - row.rows
    return IntakeProgress(row.images, row.total, to_come, row.error, row.read_at, text)


@dataclass(frozen=True)
class ImagesToCome:
    """Images that sources of unfinished runs still have.

    Attributes:
        runs: that are being read.
        images: that their sources announce, and that are not read yet.
        unknown: runs whose sources do not say how many they have.
    """

    runs: int
    images: int
    unknown: int


def count_to_come(session: Session) -> ImagesToCome:
    """Return the images that are still to be read of all runs in ``session``."""
    unknown, left = func.count() - func.count(Intake.total), func.sum(Intake.total - Intake.rows)
    query = select(func.count(), left, unknown).join(Run, Run.id == Intake.id)
    runs, images, without = session.execute(query.where(is_being_read())).one()
    return ImagesToCome(runs, int(images or 0), without)


def expected_images(session: Session, run_id: int) -> int:
    """Return the images that run ``run_id`` in ``session`` will have, as far as its source says."""
    to_come = Intake.total - Intake.rows
    query = select(Run.images + func.coalesce(to_come, 0))
    query = query.outerjoin(Intake, and_(Intake.id == Run.id, is_being_read()))
    return int(session.execute(query.where(Run.id == run_id)).scalar_one())
