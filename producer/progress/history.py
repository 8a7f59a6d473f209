"""What users did to a run: its events that have an actor."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from schema.tables import Event

_SHOWN = 20


@dataclass(frozen=True)
class UserAction:
    """What ``actor`` did: an owner of API keys, or USER@HOST on the command line.

    ``state`` is that of the run afterwards; ``request_id`` is that of the HTTP request.
    """

    at: datetime
    actor: str
    state: str
    why: str | None
    request_id: str | None


def actions(session: Session, run: int, limit: int = _SHOWN) -> list[UserAction]:
    """Return the ``limit`` latest actions of users on ``run`` in ``session``, oldest first."""
    rows = session.execute(
        select(Event.at, Event.actor, Event.target, Event.why, Event.request_id)
        .where(Event.subject == "runs", Event.row == run, Event.actor.is_not(None))
        .order_by(Event.id.desc())
        .limit(limit)
    )
    found = [UserAction(at, actor or "", state, why, request) for at, actor, state, why, request in rows]
    return found[::-1]
