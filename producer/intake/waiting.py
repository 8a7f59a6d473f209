"""Which intakes wait for a reader in the background, and where their images are."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import ColumnElement, Select, or_, select
from sqlalchemy.orm import Session

from producer.images.origin import DataOrigin
from producer.images.stores import is_stored
from schema.database import Database
from schema.database.leader_lease import process_name
from schema.states import FINISHED_RUNS, IntakeState, PausedBy
from schema.tables import Intake, Run

LEASE = timedelta(seconds=60)
"""How long a reader may take for a few megabytes, or to open its source, before another one reads on."""


def is_waiting(database: Database) -> bool:
    """Return whether an intake of ``database``, whose files are on this machine, waits for a reader."""
    with database.reading() as session:
        return next(waiting_here(session, database.now(session)), None) is not None


def origin_of(session: Session, run: int) -> DataOrigin:
    """Return where the images of ``run``, which has an intake, are read from."""
    query = select(Run.data, Intake.source).join(Intake, Intake.id == Run.id).where(Run.id == run)
    row = session.execute(query).one()
    return DataOrigin.from_dict(row.data if row.source is None else row.source)


def shown_origin(session: Session, run: int) -> DataOrigin:
    """Return where the images of ``run`` come from, as it is shown: of uploaded ones only their name."""
    return DataOrigin.from_dict(session.execute(select(Run.data).where(Run.id == run)).scalar_one())


def free(now: datetime) -> tuple[ColumnElement[bool], ...]:
    """Build the conditions that an intake waits ``now`` for a reader in the background."""
    is_free = or_(Intake.leased_until.is_(None), Intake.leased_until <= now)
    return Intake.state == IntakeState.READING, Intake.background.is_(True), is_free


def _waiting(now: datetime) -> Select[Any]:
    in_time = or_(Run.paused_by.is_(None), Run.paused_by != PausedBy.DEADLINE)
    query = select(Intake.id, Intake.files, Intake.reader).join(Run, Run.id == Intake.id)
    return query.where(*free(now), Run.state.not_in(FINISHED_RUNS), in_time).order_by(Intake.id)


def waiting_here(session: Session, now: datetime) -> Iterator[int]:
    """Yield the runs whose intakes wait and whose files are on this machine, or were."""
    host = process_name().partition(":")[0]
    for row in session.execute(_waiting(now)).all():
        was_here = row.reader is not None and row.reader.partition(":")[0] == host
        if was_here or all(is_stored(file["path"]) or Path(file["path"]).exists() for file in row.files):
            yield row.id
