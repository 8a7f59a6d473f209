"""Owners and their keys as `annealq keys list` prints them, without the keys themselves."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from producer.api.keys.limits import day_of
from schema.tables.api import ApiKey, Owner


@dataclass(frozen=True)
class KeySummary:
    """A key, and its owner's permissions and limits."""

    name: str
    prefix: str
    scope: str
    all_runs: bool
    sees: tuple[str, ...]  # names of other owners whose runs the owner sees
    requests_per_minute: int | None
    images_per_day: int | None
    images_today: int
    qpu_s_per_day: float | None
    webhook_url: str | None
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None

    def state(self, now: datetime) -> str:
        """Return whether the key is valid, expired or revoked at ``now``."""
        if self.revoked_at is not None:
            return "revoked"
        return "expired" if self.expires_at is not None and self.expires_at <= now else "valid"


def summaries(session: Session, now: datetime) -> list[KeySummary]:
    """Return all keys in ``session``, newest first, with the images that were used on the day of ``now``."""
    names = {row.id: row.name for row in session.execute(select(Owner.id, Owner.name))}
    rows = session.execute(
        select(ApiKey, Owner).join(Owner, Owner.id == ApiKey.owner_id).order_by(ApiKey.id.desc())
    )
    return [
        KeySummary(
            name=owner.name,
            prefix=key.prefix,
            scope=owner.scope,
            all_runs=owner.all_runs,
            sees=tuple(sorted(names[other] for other in owner.sees or ())),
            requests_per_minute=owner.requests_per_minute,
            images_per_day=owner.images_per_day,
            images_today=owner.images if owner.day == day_of(now) else 0,
            qpu_s_per_day=None if owner.qpu_us_per_day is None else owner.qpu_us_per_day / 1e6,
            webhook_url=owner.webhook_url,
            created_at=key.created_at,
            expires_at=key.expires_at,
            revoked_at=key.revoked_at,
            last_used_at=key.last_used_at,
        )
        for key, owner in rows
    ]
