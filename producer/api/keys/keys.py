"""Owners and their API keys, stored in SQL so that all API processes agree.

A key is `aq_`, eight characters that identify its row, and 256 random bits. Only its SHA-256 is stored: that
is enough for a random key; slow hashes are for passwords that people choose. An owner has several keys while
one replaces another; its runs, limits and webhooks stay its own.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from sqlalchemy import ColumnElement, insert, or_, select, update
from sqlalchemy.orm import Session

from schema.database import Database, record_action
from schema.errors import NotFound, ParameterError
from schema.quantities import time_text
from schema.tables.api import ApiKey, Owner

_OWNERS = "owners"  # the subject of events
_PREFIX_BYTES = 4
_SHOWN = len("aq_") + 2 * _PREFIX_BYTES  # characters of a key that are not secret
_SECRET_BYTES = 32
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_KEY = re.compile(r"(aq_[0-9a-f]{8})_[A-Za-z0-9_-]{43}")
_MAX_COUNT = 2**31 - 1


class Scope(StrEnum):
    """What an owner may do; each scope includes the ones before it."""

    READ = "read"  # look at networks, embeddings and metrics; at its own runs, those of some owners, or all
    SUBMIT = "submit"  # send runs; pause, resume and cancel its own
    ADMIN = "admin"  # the same for all runs; change budgets

    def allows(self, wanted: Scope) -> bool:
        """Return whether this scope includes ``wanted``."""
        ranks = list(Scope)
        return ranks.index(self) >= ranks.index(wanted)


@dataclass(frozen=True)
class KeyLimits:
    """Limits of an owner over all of its keys; None means unlimited. Days are UTC."""

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
    """The sender of a request.

    Attributes:
        owner_id, name: the owner; the id is None where no key is needed.
        key_id: the key that came with the request, or that a browser logged in with.
        sees: ids of other owners whose runs it may look at.
        webhook_events: kinds that are sent to ``webhook_url``; None for all but progress.
    """

    owner_id: int | None
    name: str
    scope: Scope
    limits: KeyLimits = KeyLimits()
    webhook_url: str | None = None
    webhook_secret: str | None = None
    webhook_events: tuple[str, ...] | None = None
    all_runs: bool = False
    sees: tuple[int, ...] = ()
    key_id: int | None = None

    @property
    def only(self) -> tuple[int, ...] | None:
        """Return the owners whose runs the caller sees, or None if they see all runs."""
        if self.all_runs or self.scope is Scope.ADMIN or self.owner_id is None:
            return None
        return (self.owner_id, *self.sees)


@dataclass(frozen=True)
class NewKey:
    """What is shown once, when a key is added."""

    name: str
    key: str
    expires_at: datetime | None
    webhook_secret: str | None  # None: the owner had it before


def add(
    database: Database,
    name: str,
    scope: Scope,
    limits: KeyLimits | None = None,
    webhook_url: str | None = None,
    *,
    all_runs: bool = False,
    sees: Sequence[str] = (),
    lifetime: timedelta | None = None,
    webhook_events: Sequence[str] | None = None,
) -> NewKey:
    """Add an owner ``name`` with ``scope`` and ``limits`` to ``database``, and its first key.

    Args:
        webhook_url: where ``webhook_events`` of each of its runs are posted; None for all but progress.
        all_runs: it also sees the runs of all other owners, as every owner of scope admin does.
        sees: names of the owners whose runs it sees, too.
        lifetime: after which the key expires; None: never.

    Raises:
        ParameterError: the name is invalid, or belongs to another owner, whose keys may be revoked.
        NotFound: there is no owner whose runs it is to see.
    """
    if not _NAME.fullmatch(name):
        raise ParameterError(
            f"key name {name!r:.100}: use 1 to 64 letters, digits, dots, dashes or underscores", "name"
        )
    secret = new_secret()
    with database.transaction() as session:
        if session.execute(select(Owner.id).where(Owner.name == name)).first():
            raise ParameterError(
                f"a key {name!r} already exists: choose another name, or replace it with "
                f"`annealq keys rotate {name}`",
                "name",
            )
        now = database.now(session)
        values = {
            "name": name,
            "scope": scope.value,
            "all_runs": all_runs or scope is Scope.ADMIN,
            "sees": [find_owner(session, other) for other in dict.fromkeys(sees)] or None,
            **asdict(limits or KeyLimits()),
            "webhook_secret": secret,
            "webhook_url": webhook_url,
            "webhook_events": None if webhook_events is None else list(webhook_events),
            "created_at": now,
        }
        owner = session.execute(insert(Owner).values(values).returning(Owner.id)).scalar_one()
        key, expires_at = _insert_key(session, owner, lifetime, now)
        record_action(session, _OWNERS, owner, "added", now=now, why=f"scope {scope}")
    return NewKey(name, key, expires_at, secret)


def rotate(database: Database, name: str, grace: timedelta, lifetime: timedelta | None = None) -> NewKey:
    """Add a key to the owner ``name`` in ``database``, and let its earlier ones expire after ``grace``.

    The new key expires after its ``lifetime``; None: never.

    Raises:
        NotFound: there is no such owner.
    """
    with database.transaction() as session:
        owner, now = find_owner(session, name), database.now(session)
        _expire(session, owner, now + grace, now)
        key, expires_at = _insert_key(session, owner, lifetime, now)
        why = f"key {key[:_SHOWN]} added; earlier ones expire by {time_text(now + grace)}"
        record_action(session, _OWNERS, owner, "rotated", now=now, why=why)
    return NewKey(name, key, expires_at, None)


def expire(database: Database, name: str, after: timedelta, prefix: str | None = None) -> int:
    """Let the valid keys of the owner ``name`` in ``database`` expire ``after`` that time; return how many.

    ``prefix`` names one of them. A key that expires earlier is left alone.

    Raises:
        NotFound: there is no such owner, or it has no such valid key.
    """
    with database.transaction() as session:
        owner, now = find_owner(session, name), database.now(session)
        _require_valid(session, owner, name, prefix, now)
        why = f"{prefix or 'all keys'} by {time_text(now + after)}"
        record_action(session, _OWNERS, owner, "expiring", now=now, why=why)
        return _expire(session, owner, now + after, now, prefix)


def revoke(database: Database, name: str, prefix: str | None = None) -> int:
    """Revoke the valid keys of the owner ``name`` in ``database``; return how many. Its runs continue.

    ``prefix`` names one of them.

    Raises:
        NotFound: there is no such owner, or it has no such valid key.
    """
    with database.transaction() as session:
        owner, now = find_owner(session, name), database.now(session)
        _require_valid(session, owner, name, prefix, now)
        which = (ApiKey.owner_id == owner, valid(now), *_of_prefix(prefix))
        record_action(session, _OWNERS, owner, "revoked", now=now, why=prefix or "all keys")
        revoked = update(ApiKey).where(*which).values(revoked_at=now).returning(ApiKey.id)
        return len(session.execute(revoked).all())


def find_owner(session: Session, name: str) -> int:
    """Return the id of the owner ``name`` in ``session``; raise NotFound."""
    owner = session.execute(select(Owner.id).where(Owner.name == name)).scalar()
    if owner is None:
        raise NotFound(f"no key is called {name!r}: `annealq keys list` lists all keys")
    return owner


def valid(now: datetime) -> ColumnElement[bool]:
    """Return the condition that a key can be used at ``now``."""
    return ApiKey.revoked_at.is_(None) & or_(ApiKey.expires_at.is_(None), ApiKey.expires_at > now)


def new_secret() -> str:
    """Return a random secret to sign webhooks with, in the format of standardwebhooks.com."""
    return "whsec_" + base64.b64encode(secrets.token_bytes(_SECRET_BYTES)).decode()


def exist(session: Session, now: datetime | None = None) -> bool:
    """Return whether ``session`` has any key; with ``now``, one that can be used at that time."""
    query = select(ApiKey.id).limit(1)
    return session.execute(query if now is None else query.where(valid(now))).first() is not None


def identify(session: Session, key: str, now: datetime) -> Caller | None:
    """Return the owner of ``key`` in ``session``, or None if it is unknown, revoked or expired at ``now``."""
    parts = _KEY.fullmatch(key)
    if parts is None:
        return None
    query = select(ApiKey.id, ApiKey.sha256, Owner).join(Owner, Owner.id == ApiKey.owner_id)
    row = session.execute(query.where(ApiKey.prefix == parts[1], valid(now))).first()
    if row is None or not hmac.compare_digest(row.sha256, digest(key)):
        return None
    return caller_of(row.Owner, row.id)


def caller_of(owner: Owner, key: int | None) -> Caller:
    """Return the ``owner`` as the caller who used its ``key``."""
    return Caller(
        owner_id=owner.id,
        name=owner.name,
        scope=Scope(owner.scope),
        limits=KeyLimits(owner.requests_per_minute, owner.images_per_day, owner.qpu_us_per_day),
        webhook_url=owner.webhook_url,
        webhook_secret=owner.webhook_secret,
        webhook_events=None if owner.webhook_events is None else tuple(owner.webhook_events),
        all_runs=owner.all_runs,
        sees=tuple(owner.sees or ()),
        key_id=key,
    )


def digest(secret: str) -> str:
    """Return what is stored of a random ``secret``: its SHA-256, hexadecimal."""
    return hashlib.sha256(secret.encode()).hexdigest()


def _insert_key(
    session: Session, owner: int, lifetime: timedelta | None, now: datetime
) -> tuple[str, datetime | None]:
    """Insert a key of ``owner``; return it, and when it expires."""
    prefix = f"aq_{secrets.token_hex(_PREFIX_BYTES)}"
    key = f"{prefix}_{secrets.token_urlsafe(_SECRET_BYTES)}"
    expires_at = None if lifetime is None else now + lifetime
    values = {"owner_id": owner, "prefix": prefix, "sha256": digest(key), "created_at": now}
    session.execute(insert(ApiKey).values(**values, expires_at=expires_at))
    return key, expires_at


def _expire(session: Session, owner: int, at: datetime, now: datetime, prefix: str | None = None) -> int:
    later = or_(ApiKey.expires_at.is_(None), ApiKey.expires_at > at)
    which = (ApiKey.owner_id == owner, valid(now), later, *_of_prefix(prefix))
    return len(session.execute(update(ApiKey).where(*which).values(expires_at=at).returning(ApiKey.id)).all())


def _require_valid(session: Session, owner: int, name: str, prefix: str | None, now: datetime) -> None:
    query = select(ApiKey.id).where(ApiKey.owner_id == owner, valid(now), *_of_prefix(prefix))
    if session.execute(query.limit(1)).first() is None:
        which = "no valid key" if prefix is None else f"no valid key {prefix}"
        raise NotFound(f"{name!r} has {which}: `annealq keys list` lists all keys")


def _of_prefix(prefix: str | None) -> list[ColumnElement[bool]]:
    return [] if prefix is None else [ApiKey.prefix == prefix]
