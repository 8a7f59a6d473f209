"""Tells which owner of API keys submitted a run."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import Session

from schema.tables import Run
from schema.tables.api import RunSubmission


def sent_by(owners: Collection[int]) -> ColumnElement[bool]:
    """Return the condition that one of ``owners`` submitted a run."""
    return Run.id.in_(select(RunSubmission.run_id).where(RunSubmission.owner_id.in_(owners)))


def has_sent(session: Session, owners: Collection[int], run: int) -> bool:
    """Return whether ``run`` exists and one of ``owners`` submitted it, as read by ``session``."""
    query = select(RunSubmission.run_id).where(RunSubmission.run_id == run)
    return session.execute(query.where(RunSubmission.owner_id.in_(owners))).first() is not None
