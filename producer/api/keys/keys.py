"""API keys, stored in SQL so that all API processes agree.

A key is `aq_`, eight characters that identify its row, and 256 random bits. Only its SHA-256 is stored: that
is enough for a random key; slow hashes are for passwords that people choose.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
from dataclasses import asdict, dataclass
from datetime import datetime
from enum import StrEnum

from sqlalchemy import case, insert, select, update
from sqlalchemy.orm import Session

from schema.database import Database
from schema.errors import NotFound, ParameterError
from schema.tables.api import ApiKey

_PREFIX_BYTES = 4
_SECRET_BYTES = 32
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_KEY = re.compile(r"(aq_[0-9a-f]{8})_[A-Za-z0-9_-]{43}")
_MAX_COUNT = 2**31 - 1


class Scope(StrEnum):
    """What a key may do; each scope includes the ones before it."""

    READ = "read"  # look at networks, embeddings and metrics; at its own runs, or at all
    SUBMIT = "submit"  # send runs; pause, resume and cancel its own
    ADMIN = "admin"  # the same for all runs; change budgets

    def allows(self, wanted: Scope) -> bool:
        """Return whether this scope includes ``wanted``."""
        ranks = list(Scope)
        return ranks.index(self) >= ranks.index(wanted)


@dataclass(frozen=True)
class KeyLimits:
    """Limits of a key; None means unlimited. Days are UTC."""

    requests_per_minute: int | None = None
    images_per_day: int | None = None
    qpu_us_per_day: int | None = None

    def __post_init__(self) -> None:
        for name in ("requests_per_minute", "images_per_day"):
            value = getattr(self, name)
            if value is not None and not 1 <= value <= _MAX_COUNT:
                words = name.replace("_", " ")
                raise ParameterError(f"{words}: {value} is not a whole number from 1 to {_MAX_COUNT:,}")


@dataclass(frozen=True)
class Caller:
    """The sender of a request. ``key_id`` is None where no key is needed."""

    key_id: int | None
    name: str
    scope: Scope
    limits: KeyLimits = KeyLimits()
    webhook_url: str | None = None
    webhook_secret: str | None = None
    all_runs: bool = False

    @property
    def only(self) -> int | None:
        """Return the key whose runs the caller sees, or None if they see all runs."""
        return None if self.all_runs or self.scope is Scope.ADMIN else self.key_id


@dataclass(frozen=True)
class NewKey:
    """What is shown once, when a key is added."""

    name: str
    key: str
    webhook_secret: str


@dataclass(frozen=True)
class KeySummary:
    """A key as `keys list` prints it, without the key itself."""

    name: str
    prefix: str
    scope: str
    all_runs: bool
    requests_per_minute: int | None
    images_per_day: int | None
    images_today: int
    qpu_s_per_day: float | None
    webhook_url: str | None
    created_at: datetime
    revoked_at: datetime | None


def add(
    database: Database,
    name: str,
    scope: Scope,
    limits: KeyLimits | None = None,
    webhook_url: str | None = None,
    *,
    all_runs: bool = False,
) -> NewKey:
    """Add a key ``name`` with ``scope`` and ``limits`` to ``database``.

    The end of each of its runs is posted to ``webhook_url``. With ``all_runs`` the key also sees the runs of
    other keys, as every key of scope admin does.

    Raises:
        ParameterError: the name is invalid, or belongs to another key, which may be revoked.
    """
    if not _NAME.fullmatch(name):
        raise ParameterError(f"key name {name!r}: use 1 to 64 letters, digits, dots, dashes or underscores")
    prefix = f"aq_{secrets.token_hex(_PREFIX_BYTES)}"
    key = f"{prefix}_{secrets.token_urlsafe(_SECRET_BYTES)}"
    secret = new_secret()
    with database.transaction() as session:
        if session.execute(select(ApiKey.id).where(ApiKey.name == name)).first():
            raise ParameterError(f"a key {name!r} already exists: choose another name")
        session.execute(
            insert(ApiKey).values(
                name=name,
                prefix=prefix,
                sha256=_hash(key),
                scope=scope.value,
                all_runs=all_runs or scope is Scope.ADMIN,
                **asdict(limits or KeyLimits()),
                webhook_secret=secret,
                webhook_url=webhook_url,
                created_at=database.now(session),
            )
        )
    return NewKey(name, key, secret)


def new_secret() -> str:
    """Return a random secret to sign webhooks with, in the format of standardwebhooks.com."""
    return "whsec_" + base64.b64encode(secrets.token_bytes(_SECRET_BYTES)).decode()


def revoke(database: Database, name: str) -> None:
    """Revoke the key ``name`` in ``database``; its runs continue. Raise NotFound if no such key is valid."""
    with database.transaction() as session:
        revoked = session.execute(
            update(ApiKey)
            .where(ApiKey.name == name, ApiKey.revoked_at.is_(None))
            .values(revoked_at=database.now(session))
            .returning(ApiKey.id)
        ).first()
    if revoked is None:
        raise NotFound(f"no valid key is called {name!r}: `annealq keys list` lists all keys")


def summaries(session: Session, now: datetime) -> list[KeySummary]:
    """Return all keys in ``session``, newest first, with the images that they used on the day of ``now``."""
    rows = session.execute(select(ApiKey).order_by(ApiKey.id.desc())).scalars()
    return [
        KeySummary(
            name=row.name,
            prefix=row.prefix,
            scope=row.scope,
            all_runs=row.all_runs,
            requests_per_minute=row.requests_per_minute,
            images_per_day=row.images_per_day,
            images_today=row.images if row.day == day_of(now) else 0,
            qpu_s_per_day=None if row.qpu_us_per_day is None else row.qpu_us_per_day / 1e6,
            webhook_url=row.webhook_url,
            created_at=row.created_at,
            revoked_at=row.revoked_at,
        )
        for row in rows
    ]


def exist(session: Session, *, valid: bool = False) -> bool:
    """Return whether ``session`` has any key; with ``valid``, one that is not revoked."""
    query = select(ApiKey.id).limit(1)
    return session.execute(query.where(ApiKey.revoked_at.is_(None)) if valid else query).first() is not None


def identify(session: Session, key: str) -> Caller | None:
    """Return the owner of ``key`` in ``session``, or None if it is unknown or revoked."""
    parts = _KEY.fullmatch(key)
    if parts is None:
        return None
    row = session.execute(
        select(ApiKey).where(ApiKey.prefix == parts[1], ApiKey.revoked_at.is_(None))
    ).scalar()
    if row is None or not hmac.compare_digest(row.sha256, _hash(key)):
        return None
    limits = KeyLimits(row.requests_per_minute, row.images_per_day, row.qpu_us_per_day)
    scope, webhook = Scope(row.scope), (row.webhook_url, row.webhook_secret)
    return Caller(row.id, row.name, scope, limits, *webhook, all_runs=row.all_runs)


def count_request(session: Session, key_id: int, now: datetime) -> int:
    """Count a request of ``key_id`` in ``session``, and return its requests in the minute of ``now``."""
    minute = now.replace(second=0, microsecond=0)
    requests = case((ApiKey.minute == minute, ApiKey.requests + 1), else_=1)
    counted = update(ApiKey).where(ApiKey.id == key_id).values(requests=requests, minute=minute)
    return session.execute(counted.returning(ApiKey.requests)).scalar_one()


def count_images(session: Session, key_id: int, images: int, now: datetime) -> int:
    """Count ``images`` of ``key_id`` in ``session``, and return its images on the day of ``now``.

    The key's row is locked until the commit.
    """
    day = day_of(now)
    total = case((ApiKey.day == day, ApiKey.images + images), else_=images)
    counted = update(ApiKey).where(ApiKey.id == key_id).values(images=total, day=day)
    return session.execute(counted.returning(ApiKey.images)).scalar_one()


def day_of(now: datetime) -> datetime:
    """Return the first instant of the UTC day of ``now``."""
    return now.replace(hour=0, minute=0, second=0, microsecond=0)


def _hash(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()
