"""Which API key has sent which run."""

from __future__ import annotations

from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import Session

from schema.tables import Run
from schema.tables.api import RunSubmission


def sent_by(key: int) -> ColumnElement[bool]:
    """A condition on runs: this key has sent them."""
    return Run.id.in_(select(RunSubmission.run_id).where(RunSubmission.key_id == key))


def has_sent(session: Session, key: int, run: int) -> bool:
    """Whether a run is there, and this key has sent it."""
    found = select(RunSubmission.run_id).where(RunSubmission.run_id == run, RunSubmission.key_id == key)
    return session.execute(found).first() is not None
