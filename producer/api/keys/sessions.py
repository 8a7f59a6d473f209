"""Sessions of the pages: a browser logs in with a key once, and then sends a random token as its cookie.

A session ends at its time, at the logout, and with the key that it began with. Only the SHA-256 of the token
is stored.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import delete, insert, or_, select, update
from sqlalchemy.orm import Session

from producer.api.keys.keys import Caller, caller_of, digest, valid
from schema.database import Database
from schema.tables.api import ApiKey, Owner, PageSession

_TOKEN_BYTES = 32


@dataclass(frozen=True)
class FoundSession:
    """A session that has not ended. ``caller`` is None if it began with this machine's own token."""

    id: int
    caller: Caller | None
    expires_at: datetime


def create(database: Database, key: int | None, lifetime: timedelta) -> str:
    """Begin a session in ``database`` with ``key``, or with this machine's token; return the cookie's token.

    It ends after ``lifetime``. Sessions that ended that long ago are deleted.
    """
    token = secrets.token_urlsafe(_TOKEN_BYTES)
    with database.transaction() as session:
        now = database.now(session)
        session.execute(delete(PageSession).where(PageSession.expires_at < now - lifetime))
        times = {"created_at": now, "last_seen_at": now, "expires_at": now + lifetime}
        session.execute(insert(PageSession).values(sha256=digest(token), key_id=key, **times))
    return token


def find(session: Session, token: str, now: datetime) -> FoundSession | None:
    """Return the session of the cookie's ``token`` in ``session``, or None if it has ended at ``now``."""
    row = session.execute(
        select(PageSession.id, PageSession.key_id, PageSession.expires_at, Owner)
        .outerjoin(ApiKey, ApiKey.id == PageSession.key_id)
        .outerjoin(Owner, Owner.id == ApiKey.owner_id)
        .where(PageSession.sha256 == digest(token), PageSession.revoked_at.is_(None))
        .where(PageSession.expires_at > now, or_(PageSession.key_id.is_(None), valid(now)))
    ).first()
    if row is None:
        return None
    caller = None if row.Owner is None else caller_of(row.Owner, row.key_id)
    return FoundSession(row.id, caller, row.expires_at)


def revoke(database: Database, token: str) -> None:
    """End the session of the cookie's ``token`` in ``database``, if it has not ended."""
    with database.transaction() as session:
        which = (PageSession.sha256 == digest(token), PageSession.revoked_at.is_(None))
        session.execute(update(PageSession).where(*which).values(revoked_at=database.now(session)))
