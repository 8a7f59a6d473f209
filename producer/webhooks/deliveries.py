"""Messages as rows: claimed under a lease, sent, repeated until they arrive, and sent again on request.

A message has the headers of standardwebhooks.com: `webhook-id` is the same at every attempt, so that
receivers can drop duplicates. It may arrive twice if a process dies while it sends one.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, and_, func, or_, select
from sqlalchemy.orm import Session

from producer.webhooks.kinds import TEST
from producer.webhooks.notices import insert_delivery
from schema.database import Database, transition
from schema.errors import NotFound, ParameterError, StaleState
from schema.states import DeliveryState
from schema.tables.api import Delivery, Owner, RunSubmission

LEASE_S = 60.0  # longer than one attempt can take
_BACKOFF_S = (5, 30, 120, 600, 3_600, 3 * 3_600, 6 * 3_600, 12 * 3_600)
MAX_ATTEMPTS = len(_BACKOFF_S) + 1
_BATCH = 20
_URL = func.coalesce(Delivery.url, RunSubmission.webhook_url)
_SECRET = func.coalesce(RunSubmission.webhook_secret, Owner.webhook_secret)


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
    """The result of an attempt: ``error`` is None on success; ``is_final`` says that retries are useless.

    ``status`` is that of the answer, ``latency_ms`` the time until it came or the attempt was given up.
    """

    error: str | None = None
    is_final: bool = False
    status: int | None = None
    latency_ms: int | None = None


def claim(database: Database, busy: Collection[str] = ()) -> Attempt | None:
    """Lease a due message in ``database`` for one attempt, or return None; none goes to a ``busy`` origin."""
    with database.reading() as session:
        if not _is_any_due(session, database.now(session)):
            return None
    with database.transaction() as session:
        now = database.now(session)
        _release_expired(session, now)
        due = session.execute(
            select(Delivery.id, Delivery.attempts, Delivery.event_id, Delivery.body, _URL, _SECRET)
            .outerjoin(RunSubmission, RunSubmission.run_id == Delivery.run_id)
            .outerjoin(Owner, Owner.id == Delivery.owner_id)
            .where(Delivery.state == DeliveryState.PENDING, Delivery.due_at <= now)
            .where(*(~_is_of(origin) for origin in busy))
            .order_by(Delivery.due_at, Delivery.id)
            .limit(_BATCH)
        ).all()
        for row, attempts, event_id, body, url, secret in due:
            lease: dict[str, Any] = {
                "lease_until": now + timedelta(seconds=LEASE_S),
                "attempts": attempts + 1,
            }
            try:
                transition(session, row, DeliveryState.PENDING, DeliveryState.SENDING, now=now, **lease)
            except StaleState:
                continue
            return Attempt(row, attempts + 1, event_id, url or "", secret or "", body)
    return None


def record_result(database: Database, attempt: Attempt, result: DeliveryResult) -> None:
    """Store the ``result`` of ``attempt`` in ``database``, unless its lease expired and another one began."""
    with database.transaction() as session:
        now = database.now(session)
        number = session.execute(
            select(Delivery.attempts).where(
                Delivery.id == attempt.delivery, Delivery.state == DeliveryState.SENDING
            )
        ).scalar()
        if number != attempt.number:
            return
        target, values = _after(attempt, result, now)
        transition(
            session, attempt.delivery, DeliveryState.SENDING, target, now=now, why=result.error, **values
        )


def redeliver(database: Database, delivery: int) -> None:
    """Make the message ``delivery`` in ``database`` due again, with all attempts and the same `webhook-id`.

    Raises:
        NotFound: there is no such message.
        StaleState: it is not sent yet, or is being sent.
    """
    with database.transaction() as session:
        now = database.now(session)
        state = session.execute(select(Delivery.state).where(Delivery.id == delivery)).scalar()
        if state is None:
            raise NotFound(f"no webhook message {delivery}: `annealq webhooks list` shows all of them")
        if state not in (DeliveryState.DELIVERED, DeliveryState.FAILED):
            raise StaleState(
                f"webhook message {delivery} is {state}: wait until it was delivered or has failed"
            )
        values: dict[str, Any] = {"attempts": 0, "due_at": now, "delivered_at": None}
        transition(session, delivery, state, DeliveryState.PENDING, now=now, why="sent again", **values)


def send_test(database: Database, owner: str, url: str | None = None) -> int:
    """Enqueue a test message to the webhook of ``owner`` in ``database``, or to ``url``; return its id.

    Raises:
        NotFound: there is no such owner.
        ParameterError: it has no webhook, and there is no ``url``.
    """
    with database.transaction() as session:
        now = database.now(session)
        row = session.execute(select(Owner.id, Owner.webhook_url).where(Owner.name == owner)).first()
        if row is None:
            raise NotFound(f"no key is called {owner!r}: `annealq keys list` lists all keys")
        target = url or row.webhook_url
        if target is None:
            raise ParameterError(f"{owner!r} has no webhook: give a URL to send the test message to")
        body = {"type": "webhook.test", "timestamp": now.isoformat(), "data": {"owner": owner}}
        values = {"owner_id": row.id, "event": TEST, "happened_at": now, "url": target}
        return insert_delivery(session, values, body, now)


def _after(attempt: Attempt, result: DeliveryResult, now: datetime) -> tuple[DeliveryState, dict[str, Any]]:
    """Return the new state of the delivery, and the values to set with it."""
    values: dict[str, Any] = {"lease_until": None, "error": result.error}
    values |= {"response_status": result.status, "latency_ms": result.latency_ms}
    if result.error is None:
        return DeliveryState.DELIVERED, {**values, "delivered_at": now}
    if result.is_final or attempt.number >= MAX_ATTEMPTS:
        return DeliveryState.FAILED, values
    due = now + timedelta(seconds=_BACKOFF_S[attempt.number - 1])
    return DeliveryState.PENDING, {**values, "due_at": due}


def _is_of(origin: str) -> ColumnElement[bool]:
    """Return the condition that a message goes to ``origin``, scheme and host in lower case."""
    url = func.lower(_URL)
    return or_(url == origin, *(url.startswith(origin + mark, autoescape=True) for mark in "/?#"))


def _is_any_due(session: Session, now: datetime) -> bool:
    # Without this query, every look for due messages would take the write lock of SQLite.
    waiting = and_(Delivery.state == DeliveryState.PENDING, Delivery.due_at <= now)
    expired = and_(Delivery.state == DeliveryState.SENDING, Delivery.lease_until < now)
    return session.execute(select(Delivery.id).where(or_(waiting, expired)).limit(1)).first() is not None


def _release_expired(session: Session, now: datetime) -> None:
    rows = session.execute(
        select(Delivery.id, Delivery.attempts).where(
            Delivery.state == DeliveryState.SENDING, Delivery.lease_until < now
        )
    ).all()
    for row in rows:
        target = DeliveryState.PENDING if row.attempts < MAX_ATTEMPTS else DeliveryState.FAILED
        values: dict[str, Any] = {"lease_until": None, "error": "its process died or took too long"}
        try:
            transition(session, row.id, DeliveryState.SENDING, target, now=now, **values)
        except StaleState:
            continue
