"""Positions in a stream of events: the ids that a client sends back, to continue where it was.

A position is the number of a row of `events`, where every move of a run and of its batches and problems is
recorded. So it lasts: any process that serves the same database understands it.
"""

from __future__ import annotations

import re

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from schema.tables import Batch, Event, Problem

_ID = re.compile(r"([0-9]{1,18})(-end)?")


def position_id(position: int, *, is_last: bool) -> str:
    """Return the id of an event at ``position``; ``is_last``: no event follows in this stream."""
    return f"{position}-end" if is_last else str(position)


def parse_position(last_event_id: str | None) -> tuple[int | None, bool]:
    """Return the position in a header Last-Event-ID, None if it has none, and whether it was the last one."""
    found = _ID.fullmatch(last_event_id or "")
    return (None, False) if found is None else (int(found[1]), found[2] is not None)


def has_changed(session: Session, run: int, after: int) -> bool:
    """Return whether ``run``, one of its batches or problems has moved since the position ``after``."""
    batches = select(Batch.id).where(Batch.run_id == run)
    problems = select(Problem.id).where(Problem.batch_id.in_(batches))
    of_run = or_(
        (Event.subject == "runs") & (Event.row == run),
        (Event.subject == "batches") & Event.row.in_(batches),
        (Event.subject == "problems") & Event.row.in_(problems),
    )
    query = select(Event.id).where(Event.id > after, of_run).limit(1)
    return session.execute(query).first() is not None
