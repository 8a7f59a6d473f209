"""Messages to webhooks for display: to whom, what, how often, and with which answer."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import urlsplit

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

from schema.errors import NotFound
from schema.states import DeliveryState
from schema.tables import Event
from schema.tables.api import Delivery, Owner, RunSubmission


@dataclass(frozen=True)
class DeliverySummary:
    """A message to a webhook; of its address only the host, because a path may contain a secret."""

    delivery_id: int
    run_id: int | None  # None: a test
    owner: str | None
    event: str
    event_id: str  # the header `webhook-id`
    receiver: str
    state: DeliveryState
    attempts: int
    response_status: int | None  # this and the next two: of the latest attempt
    latency_ms: int | None
    error: str | None
    due_at: datetime | None  # of the next attempt
    created_at: datetime
    delivered_at: datetime | None


@dataclass(frozen=True)
class PastAttempt:
    """The result of an attempt to send a message; ``error`` is None on success."""

    at: datetime
    error: str | None


def summaries(
    session: Session,
    limit: int = 20,
    *,
    before: int | None = None,
    run: int | None = None,
    state: DeliveryState | None = None,
    owned_by: Collection[int] | None = None,
) -> list[DeliverySummary]:
    """Return the ``limit`` newest messages in ``session``, newest first.

    Args:
        before: only messages with a lower number.
        run, state: only those about the run, or in the state.
        owned_by: only those to webhooks of these owners.
    """
    query = _query().order_by(Delivery.id.desc()).limit(limit)
    if before is not None:
        query = query.where(Delivery.id < before)
    if run is not None:
        query = query.where(Delivery.run_id == run)
    if state is not None:
        query = query.where(Delivery.state == state)
    if owned_by is not None:
        query = query.where(Delivery.owner_id.in_(owned_by))
    return [_summary(*row) for row in session.execute(query)]


def summary(session: Session, delivery: int, owned_by: Collection[int] | None = None) -> DeliverySummary:
    """Return the message ``delivery`` in ``session``, of one of these owners if given; raise NotFound."""
    query = _query().where(Delivery.id == delivery)
    if owned_by is not None:
        query = query.where(Delivery.owner_id.in_(owned_by))
    row = session.execute(query).first()
    if row is None:
        raise NotFound(f"no webhook message {delivery}: `annealq webhooks list` shows all of them")
    return _summary(*row)


def attempts(session: Session, delivery: int) -> list[PastAttempt]:
    """Return the attempts to send the message ``delivery`` in ``session``, oldest first."""
    rows = session.execute(
        select(Event.at, Event.why)
        .where(Event.subject == "deliveries", Event.row == delivery, Event.source == DeliveryState.SENDING)
        .order_by(Event.id)
    )
    return [PastAttempt(at, why) for at, why in rows]


def body(session: Session, delivery: int) -> str:
    """Return the JSON text of the message ``delivery`` in ``session``, exactly as it is signed."""
    return session.execute(select(Delivery.body).where(Delivery.id == delivery)).scalar_one()


def _query() -> Select[Delivery, str | None, str | None]:
    url = func.coalesce(Delivery.url, RunSubmission.webhook_url)
    return (
        select(Delivery, Owner.name, url)
        .outerjoin(RunSubmission, RunSubmission.run_id == Delivery.run_id)
        .outerjoin(Owner, Owner.id == Delivery.owner_id)
    )


def _summary(row: Delivery, owner: str | None, url: str | None) -> DeliverySummary:
    parts = urlsplit(url or "")
    return DeliverySummary(
        delivery_id=row.id,
        run_id=row.run_id,
        owner=owner,
        event=row.event,
        event_id=row.event_id,
        receiver=f"{parts.scheme}://{parts.netloc}",
        state=row.state,
        attempts=row.attempts,
        response_status=row.response_status,
        latency_ms=row.latency_ms,
        error=row.error,
        due_at=row.due_at if row.state == DeliveryState.PENDING else None,
        created_at=row.created_at,
        delivered_at=row.delivered_at,
    )
