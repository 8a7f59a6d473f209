"""Tables of the HTTP API: keys and their limits, runs that came by HTTP, and webhook deliveries."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, String, Text, UniqueConstraint, false
from sqlalchemy.orm import Mapped, mapped_column

from schema.states import DeliveryState
from schema.tables.columns import Base, Key, known


class ApiKey(Base):
    """A key of the HTTP API: its hash, its permissions, its limits and what it has used of them."""

    __tablename__ = "api_keys"

    id: Mapped[int] = mapped_column(Key, primary_key=True)
    name: Mapped[str] = mapped_column(String(64), unique=True)
    prefix: Mapped[str] = mapped_column(String(16), unique=True)  # first characters of the key, for display
    sha256: Mapped[str] = mapped_column(String(64))  # of the whole key, which is 256 random bits
    scope: Mapped[str] = mapped_column(String(16))  # read, submit or admin
    all_runs: Mapped[bool] = mapped_column(server_default=false())  # sees the runs of other keys
    requests_per_minute: Mapped[int | None]  # these three are limits; None: unlimited
    images_per_day: Mapped[int | None] = mapped_column(BigInteger)
    qpu_us_per_day: Mapped[int | None] = mapped_column(BigInteger)
    webhook_secret: Mapped[str] = mapped_column(String(128))  # signs messages to its webhooks
    webhook_url: Mapped[str | None] = mapped_column(Text)  # for runs that name none
    minute: Mapped[datetime | None]  # in which `requests` were counted
    requests: Mapped[int] = mapped_column(default=0)  # in that minute
    day: Mapped[datetime | None]  # on which `images` were counted, UTC
    images: Mapped[int] = mapped_column(BigInteger, default=0)  # on that day
    created_at: Mapped[datetime]
    revoked_at: Mapped[datetime | None]

    __table_args__ = (
        CheckConstraint("scope IN ('read', 'submit', 'admin')", name="scope_known"),
        CheckConstraint("requests >= 0 AND images >= 0", name="counts_positive"),
    )


class RunSubmission(Base):
    """A run that came by HTTP: its key, and the webhook that is notified when it ends."""

    __tablename__ = "submissions"

    run_id: Mapped[int] = mapped_column(ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True)
    key_id: Mapped[int | None] = mapped_column(ForeignKey("api_keys.id"))
    webhook_url: Mapped[str | None] = mapped_column(Text)
    webhook_secret: Mapped[str | None] = mapped_column(String(128))  # signs the messages
    # What was asked for besides the content, to tell a repeated request from another one.
    request: Mapped[dict[str, Any] | None]
    created_at: Mapped[datetime]

    __table_args__ = (
        Index(None, "key_id", "created_at"),
        CheckConstraint("webhook_url IS NULL OR webhook_secret IS NOT NULL", name="webhooks_are_signed"),
    )


class Delivery(Base):
    """One message to a webhook: a run has ended, or waits for its solver, or its chip has changed."""

    __tablename__ = "deliveries"

    id: Mapped[int] = mapped_column(Key, primary_key=True)
    run_id: Mapped[int] = mapped_column(ForeignKey("runs.id", ondelete="CASCADE"))
    happened_at: Mapped[datetime]  # what it tells; a failed run may be resumed, and end again
    event: Mapped[str] = mapped_column(String(16), server_default="ended")  # ended, waiting, resumed, alarm
    event_id: Mapped[str] = mapped_column(String(64), unique=True)  # the same at every attempt
    state: Mapped[DeliveryState]
    body: Mapped[str] = mapped_column(Text)  # JSON, exactly as signed
    attempts: Mapped[int] = mapped_column(default=0)
    due_at: Mapped[datetime]  # of the next attempt
    lease_until: Mapped[datetime | None]  # of the process that sends it
    error: Mapped[str | None] = mapped_column(Text)  # of the latest attempt
    created_at: Mapped[datetime]
    delivered_at: Mapped[datetime | None]

    __table_args__ = (
        UniqueConstraint("run_id", "happened_at", name="uq_deliveries_run_id_ended_at"),
        Index(None, "state", "due_at"),
        known(DeliveryState),
        CheckConstraint("state <> 'sending' OR lease_until IS NOT NULL", name="sending_has_lease"),
        CheckConstraint("(state = 'delivered') = (delivered_at IS NOT NULL)", name="delivered_has_time"),
        CheckConstraint("state <> 'failed' OR error IS NOT NULL", name="failed_says_why"),
    )
