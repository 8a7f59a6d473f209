"""Tells which API key submitted a run."""

from __future__ import annotations

from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import Session

from schema.tables import Run
from schema.tables.api import RunSubmission


def sent_by(key: int) -> ColumnElement[bool]:
    """Return the condition that API key ``key`` submitted a run."""
    return Run.id.in_(select(RunSubmission.run_id).where(RunSubmission.key_id == key))


def has_sent(session: Session, key: int, run: int) -> bool:
    """Return whether ``run`` exists and API key ``key`` submitted it, as read by ``session``."""
    query = select(RunSubmission.run_id).where(RunSubmission.run_id == run, RunSubmission.key_id == key)
    return session.execute(query).first() is not None
