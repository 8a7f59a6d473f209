"""Tells webhooks that a run is at its end: rows in `deliveries`, sent by `annealq serve` until they arrive.

What is sent follows standardwebhooks.com: the headers `webhook-id` (the same at every attempt: whoever has
seen it drops it), `webhook-timestamp` and `webhook-signature`, which is `v1,` and the HMAC-SHA256, in base64,
of `ID.TIMESTAMP.BODY` under the secret. A message may arrive twice, when a process dies while it sends one.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import secrets
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Select, and_, insert, or_, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from producer.runs import summary
from schema.database import Database, transition
from schema.errors import StaleState
from schema.states import DeliveryState
from schema.tables import Run
from schema.tables.api import Delivery, RunSubmission

LEASE_S = 60.0  # above the time that one attempt may take
_BACKOFF_S = (5, 30, 120, 600, 3_600, 3 * 3_600, 6 * 3_600, 12 * 3_600)
MAX_ATTEMPTS = len(_BACKOFF_S) + 1
_SECRET = "whsec_"  # noqa: S105 - how secrets begin
_AT_ONCE = 20
_SLACK = timedelta(hours=1)  # above what passes from an end's time to its commit, and between clocks


@dataclass(frozen=True)
class Attempt:
    """One attempt to deliver a message, under a lease."""

    delivery: int
    number: int
    event_id: str
    url: str
    secret: str
    body: str


@dataclass(frozen=True)
class DeliveryResult:
    """What came of an attempt. error: None: it was taken. is_final: trying again is of no use."""

    error: str | None = None
    is_final: bool = False


def sign(secret: str, event_id: str, timestamp: int, body: str) -> str:
    """The value of `webhook-signature`."""
    signed = f"{event_id}.{timestamp}.{body}".encode()
    return "v1," + base64.b64encode(hmac.digest(_key(secret), signed, hashlib.sha256)).decode()


def note_ends(database: Database, since: datetime | None = None) -> datetime | None:
    """Write a message for every end of a run that a webhook waits for and that has none.

    since: only for ends from then on; None: for all, which takes longer the more runs there are. Returns from
    when on there may be more ends than were noted here, to be passed on as the next ``since``.
    """
    with database.reading() as session:
        now = database.now(session)
        ended = session.execute(_unnoted(since)).all()
    for run, ended_at in ended:
        if ended_at is None:
            continue
        try:
            with database.transaction() as session:
                now = database.now(session)
                session.execute(insert(Delivery).values(_message(session, run, ended_at, now)))
        except IntegrityError:
            continue  # another API process was faster
    return since if len(ended) == _AT_ONCE else now - _SLACK


def claim(database: Database) -> Attempt | None:
    """Take a message that is due, for as long as one attempt lasts; None: there is none."""
    with database.reading() as session:
        if not _is_any_due(session, database.now(session)):
            return None
    with database.transaction() as session:
        now = database.now(session)
        _free_expired(session, now)
        due = session.execute(
            select(Delivery.id, Delivery.attempts, Delivery.event_id, Delivery.body)
            .where(Delivery.state == DeliveryState.PENDING, Delivery.due_at <= now)
            .order_by(Delivery.due_at)
            .limit(_AT_ONCE)
        ).all()
        for row in due:
            lease: dict[str, Any] = {
                "lease_until": now + timedelta(seconds=LEASE_S),
                "attempts": row.attempts + 1,
            }
            try:
                transition(session, row.id, DeliveryState.PENDING, DeliveryState.SENDING, now=now, **lease)
            except StaleState:
                continue
            to = session.execute(
                select(RunSubmission.webhook_url, RunSubmission.webhook_secret)
                .join(Delivery, Delivery.run_id == RunSubmission.run_id)
                .where(Delivery.id == row.id)
            ).one()
            url, secret = to.webhook_url or "", to.webhook_secret or ""
            return Attempt(row.id, row.attempts + 1, row.event_id, url, secret, row.body)
    return None


def keep(database: Database, attempt: Attempt, outcome: DeliveryResult) -> None:
    """Write down what came of an attempt, unless its lease has run out and another one is under way."""
    with database.transaction() as session:
        now = database.now(session)
        held = session.execute(
            select(Delivery.attempts).where(
                Delivery.id == attempt.delivery, Delivery.state == DeliveryState.SENDING
            )
        ).scalar()
        if held != attempt.number:
            return
        target, values = _after(attempt, outcome, now)
        transition(
            session, attempt.delivery, DeliveryState.SENDING, target, now=now, why=outcome.error, **values
        )


def _after(attempt: Attempt, outcome: DeliveryResult, now: datetime) -> tuple[DeliveryState, dict[str, Any]]:
    """The state that an attempt leads to, and what is set with it."""
    values: dict[str, Any] = {"lease_until": None, "error": outcome.error}
    if outcome.error is None:
        return DeliveryState.DELIVERED, {**values, "delivered_at": now}
    if outcome.is_final or attempt.number >= MAX_ATTEMPTS:
        return DeliveryState.FAILED, values
    due = now + timedelta(seconds=_BACKOFF_S[attempt.number - 1])
    return DeliveryState.PENDING, {**values, "due_at": due}


def _key(secret: str) -> bytes:
    """A secret as standardwebhooks.com writes it is base64; any other one is taken as it is."""
    if secret.startswith(_SECRET):
        with suppress(binascii.Error):
            return base64.b64decode(secret.removeprefix(_SECRET), validate=True)
    return secret.encode()


def _unnoted(since: datetime | None) -> Select[int, datetime | None]:
    told = and_(Delivery.run_id == Run.id, Delivery.ended_at == Run.finished_at)
    lately = Run.finished_at.is_not(None) if since is None else Run.finished_at >= since
    return (
        select(Run.id, Run.finished_at)
        .join(RunSubmission, RunSubmission.run_id == Run.id)
        .outerjoin(Delivery, told)
        .where(RunSubmission.webhook_url.is_not(None), lately, Delivery.id.is_(None))
        .order_by(Run.finished_at)
        .limit(_AT_ONCE)
    )


def _message(session: Session, run: int, ended_at: datetime, now: datetime) -> dict[str, Any]:
    shown = summary.run_object(session, run)
    body = {"type": f"run.{shown['state']}", "timestamp": ended_at.isoformat(), "data": shown}
    return {
        "run_id": run,
        "ended_at": ended_at,
        "event_id": f"msg_{secrets.token_hex(16)}",
        "state": DeliveryState.PENDING,
        "body": json.dumps(body),
        "due_at": now,
        "created_at": now,
    }


def _is_any_due(session: Session, now: datetime) -> bool:
    """Asked first, since on SQLite only one process can write at a time."""
    waits = and_(Delivery.state == DeliveryState.PENDING, Delivery.due_at <= now)
    expired = and_(Delivery.state == DeliveryState.SENDING, Delivery.lease_until < now)
    return session.execute(select(Delivery.id).where(or_(waits, expired)).limit(1)).first() is not None


def _free_expired(session: Session, now: datetime) -> None:
    """Whoever held these has died, or takes too long."""
    rows = session.execute(
        select(Delivery.id, Delivery.attempts).where(
            Delivery.state == DeliveryState.SENDING, Delivery.lease_until < now
        )
    ).all()
    for row in rows:
        target = DeliveryState.PENDING if row.attempts < MAX_ATTEMPTS else DeliveryState.FAILED
        values: dict[str, Any] = {"lease_until": None, "error": "its process died, or took too long"}
        try:
            transition(session, row.id, DeliveryState.SENDING, target, now=now, **values)
        except StaleState:
            continue
