"""Tables of the HTTP API: owners, their keys and sessions, runs that came by HTTP, webhook deliveries."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, String, Text, UniqueConstraint, false
from sqlalchemy.orm import Mapped, mapped_column

from schema.states import DeliveryState
from schema.tables.columns import Base, Key, known


class Owner(Base):
    """Who sends requests to the HTTP API: permissions, limits, and what was used of them.

    Runs and webhooks belong to an owner; its keys come and go.
    """

    __tablename__ = "owners"

    id: Mapped[int] = mapped_column(Key, primary_key=True)
    name: Mapped[str] = mapped_column(String(64), unique=True)
    scope: Mapped[str] = mapped_column(String(16))  # read, submit or admin
    all_runs: Mapped[bool] = mapped_column(server_default=false())  # sees the runs of all owners
    sees: Mapped[list[int] | None]  # ids of other owners whose runs it sees, too
    requests_per_minute: Mapped[int | None]  # these three are limits; None: unlimited
    images_per_day: Mapped[int | None] = mapped_column(BigInteger)
    qpu_us_per_day: Mapped[int | None] = mapped_column(BigInteger)
    webhook_secret: Mapped[str] = mapped_column(String(128))  # signs messages to its webhooks
    webhook_url: Mapped[str | None] = mapped_column(Text)  # for runs that name none
    webhook_events: Mapped[list[str] | None]  # that are sent there; None: all but progress
    minute: Mapped[datetime | None]  # in which `requests` were counted
    requests: Mapped[int] = mapped_column(default=0)  # in that minute
    day: Mapped[datetime | None]  # on which `images` were counted, UTC
    images: Mapped[int] = mapped_column(BigInteger, default=0)  # on that day
    created_at: Mapped[datetime]

    __table_args__ = (
        CheckConstraint("scope IN ('read', 'submit', 'admin')", name="scope_known"),
        CheckConstraint("requests >= 0 AND images >= 0", name="counts_positive"),
    )


class ApiKey(Base):
    """A key of an owner, stored as its hash. An owner has several while one replaces another."""

    __tablename__ = "api_keys"

    id: Mapped[int] = mapped_column(Key, primary_key=True)
    owner_id: Mapped[int] = mapped_column(ForeignKey("owners.id"))
    prefix: Mapped[str] = mapped_column(String(16), unique=True)  # first characters of the key, for display
    sha256: Mapped[str] = mapped_column(String(64))  # of the whole key, which is 256 random bits
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime | None]  # None: it does not expire
    revoked_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]  # to the minute

    __table_args__ = (Index(None, "owner_id"),)


class PageSession(Base):
    """A browser that is logged in to the pages; it ends with the key that it logged in with."""

    __tablename__ = "page_sessions"

    id: Mapped[int] = mapped_column(Key, primary_key=True)
    sha256: Mapped[str] = mapped_column(String(64), unique=True)  # of the cookie, which is 256 random bits
    key_id: Mapped[int | None] = mapped_column(ForeignKey("api_keys.id"))  # None: this machine's own token
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    last_seen_at: Mapped[datetime]  # to the minute
    revoked_at: Mapped[datetime | None]  # logged out

    __table_args__ = (Index(None, "expires_at"),)


class RunSubmission(Base):
    """A run that came by HTTP: its owner, and the webhook that is notified when it ends."""

    __tablename__ = "submissions"

    run_id: Mapped[int] = mapped_column(ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True)
    owner_id: Mapped[int | None] = mapped_column(ForeignKey("owners.id"))
    webhook_url: Mapped[str | None] = mapped_column(Text)
    webhook_secret: Mapped[str | None] = mapped_column(String(128))  # signs the messages
    webhook_events: Mapped[list[str] | None]  # that are sent; None: all but progress
    # What was asked for besides the content, to tell a repeated request from another one.
    request: Mapped[dict[str, Any] | None]
    created_at: Mapped[datetime]

    __table_args__ = (
        Index(None, "owner_id", "created_at"),
        CheckConstraint("webhook_url IS NULL OR webhook_secret IS NOT NULL", name="webhooks_are_signed"),
    )


class Delivery(Base):
    """One message to a webhook: about a run, or a test of an owner's webhook."""

    __tablename__ = "deliveries"

    id: Mapped[int] = mapped_column(Key, primary_key=True)
    run_id: Mapped[int | None] = mapped_column(ForeignKey("runs.id", ondelete="CASCADE"))  # None: a test
    owner_id: Mapped[int | None] = mapped_column(ForeignKey("owners.id"))
    happened_at: Mapped[datetime]  # what it tells; a failed run may be resumed, and end again
    event: Mapped[str] = mapped_column(String(16), server_default="ended")  # see `producer.webhooks`
    event_id: Mapped[str] = mapped_column(String(64), unique=True)  # the same at every attempt
    state: Mapped[DeliveryState]
    url: Mapped[str | None] = mapped_column(Text)  # of a test; None: the webhook of the run
    body: Mapped[str] = mapped_column(Text)  # JSON, exactly as signed
    attempts: Mapped[int] = mapped_column(default=0)
    due_at: Mapped[datetime]  # of the next attempt
    lease_until: Mapped[datetime | None]  # of the process that sends it
    error: Mapped[str | None] = mapped_column(Text)  # this and the next two: of the latest attempt
    response_status: Mapped[int | None]  # HTTP status of the receiver
    latency_ms: Mapped[int | None]  # from the start of the attempt to the answer or the error
    created_at: Mapped[datetime]
    delivered_at: Mapped[datetime | None]

    __table_args__ = (
        UniqueConstraint("run_id", "event", "happened_at"),
        Index(None, "state", "due_at"),
        Index(None, "owner_id"),
        known(DeliveryState),
        CheckConstraint("run_id IS NOT NULL OR owner_id IS NOT NULL", name="has_subject"),
        CheckConstraint("state <> 'sending' OR lease_until IS NOT NULL", name="sending_has_lease"),
        CheckConstraint("(state = 'delivered') = (delivered_at IS NOT NULL)", name="delivered_has_time"),
        CheckConstraint("state <> 'failed' OR error IS NOT NULL", name="failed_says_why"),
    )
