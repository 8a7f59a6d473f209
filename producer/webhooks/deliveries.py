"""Messages to webhooks about runs that finish or wait: rows that `annealq serve` sends until they arrive.

Messages follow standardwebhooks.com, with the headers `webhook-id` (the same at every attempt, so that
receivers can drop duplicates), `webhook-timestamp` and `webhook-signature`: `v1,` and the HMAC-SHA256, in
base64, of `ID.TIMESTAMP.BODY` with the secret. A message may arrive twice if a process dies while it sends
one.
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

from sqlalchemy import ColumnElement, Select, and_, func, insert, or_, select, true
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from producer.progress.reasons import current_outages
from producer.runs import summary
from schema.database import Database, transition
from schema.errors import StaleState
from schema.parameters import solver_key
from schema.states import LIVE_RUNS, DeliveryState
from schema.tables import Chip, Run
from schema.tables.api import Delivery, RunSubmission

LEASE_S = 60.0  # longer than one attempt can take
_BACKOFF_S = (5, 30, 120, 600, 3_600, 3 * 3_600, 6 * 3_600, 12 * 3_600)
MAX_ATTEMPTS = len(_BACKOFF_S) + 1
_SECRET = "whsec_"  # noqa: S105 - a prefix, not a secret
_BATCH = 20
_SHORT = timedelta(seconds=30)  # shorter outages are not told
_SLACK = timedelta(hours=1)  # longer than from `finished_at` to its commit, and than clocks differ


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
    """The result of an attempt: ``error`` is None on success; ``is_final`` says that retries are useless."""

    error: str | None = None
    is_final: bool = False


def sign(secret: str, event_id: str, timestamp: int, body: str) -> str:
    """Return the `webhook-signature` of ``body`` with ``event_id`` and ``timestamp``, by ``secret``."""
    signed = f"{event_id}.{timestamp}.{body}".encode()
    return "v1," + base64.b64encode(hmac.digest(_key(secret), signed, hashlib.sha256)).decode()


def enqueue_deliveries(database: Database, since: datetime | None = None) -> datetime | None:
    """Insert a delivery for every finished run in ``database`` that has a webhook and no delivery yet.

    Only runs finished after ``since`` are examined; None means all runs, which takes longer the more there
    are. Returns the next ``since``: runs finished after it may still be missing.
    """
    with database.reading() as session:
        now = database.now(session)
        ends = session.execute(_without_delivery(since)).all()
    for run, ended_at in ends:
        if ended_at is None:
            continue
        with suppress(IntegrityError), database.transaction() as session:  # another process was faster
            _insert(session, run, "ended", ended_at, database.now(session))
    return since if len(ends) == _BATCH else now - _SLACK


def enqueue_outages(database: Database) -> None:
    """Insert a delivery for each live run in ``database`` whose solver has begun to fail, or answers again.

    Outages of less than 30 seconds are not told. Each run is told about one outage at a time, and nothing
    about its end if the run has finished.
    """
    with database.reading() as session:
        changes = _changes(session, database.now(session))
    for run in changes:
        with suppress(IntegrityError), database.transaction() as session:
            # The lock makes other API processes wait, which then find nothing to do.
            session.execute(select(Run.id).where(Run.id == run).with_for_update())
            now = database.now(session)
            if (event := _changes(session, now, run).get(run)) is not None:
                _insert(session, run, event, now, now)


def enqueue_alarms(database: Database) -> None:
    """Insert a delivery for each live run in ``database`` on a chip about which there is a new alarm."""
    told = select(Delivery.id).where(Delivery.run_id == Run.id, Delivery.happened_at == Chip.alarmed_at)
    query = (
        select(Run.id, Chip.alarmed_at)
        .join(RunSubmission, RunSubmission.run_id == Run.id)
        .join(Chip, and_(Chip.name == Run.qpu, Chip.graph_id == Run.graph_id))
        .where(RunSubmission.webhook_url.is_not(None), Run.state.in_(LIVE_RUNS))
        .where(Chip.alarmed_at.is_not(None), ~told.exists())
    )
    with database.reading() as session:
        alarms = session.execute(query.limit(_BATCH)).all()
    for run, alarmed_at in alarms:
        with suppress(IntegrityError), database.transaction() as session:  # another process was faster
            _insert(session, run, "alarm", alarmed_at or database.now(session), database.now(session))


def claim(database: Database) -> Attempt | None:
    """Lease a due message in ``database`` for one attempt; return None if there is none."""
    with database.reading() as session:
        if not _is_any_due(session, database.now(session)):
            return None
    with database.transaction() as session:
        now = database.now(session)
        _release_expired(session, now)
        due = session.execute(
            select(Delivery.id, Delivery.attempts, Delivery.event_id, Delivery.body)
            .where(Delivery.state == DeliveryState.PENDING, Delivery.due_at <= now)
            .order_by(Delivery.due_at)
            .limit(_BATCH)
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
            webhook = session.execute(
                select(RunSubmission.webhook_url, RunSubmission.webhook_secret)
                .join(Delivery, Delivery.run_id == RunSubmission.run_id)
                .where(Delivery.id == row.id)
            ).one()
            url, secret = webhook.webhook_url or "", webhook.webhook_secret or ""
            return Attempt(row.id, row.attempts + 1, row.event_id, url, secret, row.body)
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


def _after(attempt: Attempt, result: DeliveryResult, now: datetime) -> tuple[DeliveryState, dict[str, Any]]:
    """Return the new state of the delivery, and the values to set with it."""
    values: dict[str, Any] = {"lease_until": None, "error": result.error}
    if result.error is None:
        return DeliveryState.DELIVERED, {**values, "delivered_at": now}
    if result.is_final or attempt.number >= MAX_ATTEMPTS:
        return DeliveryState.FAILED, values
    due = now + timedelta(seconds=_BACKOFF_S[attempt.number - 1])
    return DeliveryState.PENDING, {**values, "due_at": due}


def _key(secret: str) -> bytes:
    """Decode a ``secret`` in the format of standardwebhooks.com; use any other one unchanged."""
    if secret.startswith(_SECRET):
        with suppress(binascii.Error):
            return base64.b64decode(secret.removeprefix(_SECRET), validate=True)
    return secret.encode()


def _without_delivery(since: datetime | None) -> Select[int, datetime | None]:
    delivery = and_(Delivery.run_id == Run.id, Delivery.happened_at == Run.finished_at)
    is_recent = Run.finished_at.is_not(None) if since is None else Run.finished_at >= since
    return (
        select(Run.id, Run.finished_at)
        .join(RunSubmission, RunSubmission.run_id == Run.id)
        .outerjoin(Delivery, delivery)
        .where(RunSubmission.webhook_url.is_not(None), is_recent, Delivery.id.is_(None))
        .order_by(Run.finished_at)
        .limit(_BATCH)
    )


def _changes(session: Session, now: datetime, run: int | None = None) -> dict[int, str]:
    """Return what to tell live runs with a webhook, or one of them: that they wait, or have resumed."""
    outages = current_outages(session)
    if not outages and session.execute(select(Delivery.id).where(_is_waiting()).limit(1)).first() is None:
        return {}
    told_at = func.max(Delivery.happened_at)
    about = (Delivery.run_id == Run.id, Delivery.event != "alarm")
    newest = select(told_at).where(*about).correlate(Run).scalar_subquery()
    told = and_(*about, Delivery.happened_at == newest)
    rows = session.execute(
        select(Run.id, Run.solver, Run.parameters, Run.qpu, Delivery.event)
        .join(RunSubmission, RunSubmission.run_id == Run.id)
        .outerjoin(Delivery, told)
        .where(RunSubmission.webhook_url.is_not(None), Run.state.in_(LIVE_RUNS))
        .where(Run.id == run if run is not None else true())
    )
    changes = {}
    for row in rows:
        outage = outages.get(solver_key(row.solver, row.parameters, row.qpu))
        opened_at = None if outage is None else outage.opened_at
        if row.event == "waiting":
            if opened_at is None:
                changes[row.id] = "resumed"
        elif opened_at is not None and opened_at <= now - _SHORT:
            changes[row.id] = "waiting"
    return changes


def _is_waiting() -> ColumnElement[bool]:
    live = select(Run.id).where(Run.state.in_(LIVE_RUNS))
    return and_(Delivery.event == "waiting", Delivery.run_id.in_(live))


def _insert(session: Session, run: int, event: str, happened_at: datetime, now: datetime) -> None:
    data = summary.run_object(session, run, now)
    kind = data["state"] if event == "ended" else event
    body = {"type": f"run.{kind}", "timestamp": happened_at.isoformat(), "data": data}
    values = {
        "run_id": run,
        "happened_at": happened_at,
        "event": event,
        "event_id": f"msg_{secrets.token_hex(16)}",
        "state": DeliveryState.PENDING,
        "body": json.dumps(body),
        "due_at": now,
        "created_at": now,
    }
    session.execute(insert(Delivery).values(values))


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
