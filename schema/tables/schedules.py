"""Tables of schedules, and of each time that one was due."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, Index, String, Text, UniqueConstraint, false
from sqlalchemy.orm import Mapped, mapped_column

from schema.states import FiringState, ScheduleState
from schema.tables.columns import Base, Key, known


class Schedule(Base):
    """A request that becomes a run whenever it is due."""

    __tablename__ = "schedules"

    id: Mapped[int] = mapped_column(Key, primary_key=True)
    name: Mapped[str] = mapped_column(String(64), unique=True)
    state: Mapped[ScheduleState]
    cron: Mapped[str] = mapped_column(String(100))  # see `schema.calendar.cron`
    zone: Mapped[str] = mapped_column(String(64))  # time zone of ``cron``
    request: Mapped[dict[str, Any]]  # see `producer.runs.request`
    data_sha256: Mapped[str] = mapped_column(String(64))  # of its images and labels when it was added
    next_at: Mapped[datetime]  # its next due time
    planned_at: Mapped[datetime]  # when ``next_at`` was computed; in the future: a clock was wrong
    created_at: Mapped[datetime]

    __table_args__ = (known(ScheduleState), Index(None, "state", "next_at"))


class Firing(Base):
    """One time that a schedule was due; the schedule's name and this time are the run's idempotency key."""

    __tablename__ = "firings"

    id: Mapped[int] = mapped_column(Key, primary_key=True)
    schedule_id: Mapped[int] = mapped_column(ForeignKey("schedules.id", ondelete="CASCADE"))
    due_at: Mapped[datetime]
    by_hand: Mapped[bool] = mapped_column(default=False, server_default=false())  # a user fired it
    missed: Mapped[int] = mapped_column(default=0)  # number of missed due times that it replaces
    state: Mapped[FiringState]
    attempts: Mapped[int] = mapped_column(default=0)
    run_id: Mapped[int | None] = mapped_column(ForeignKey("runs.id", ondelete="SET NULL"))
    data_sha256: Mapped[str | None] = mapped_column(String(64))  # of the images that were read
    error: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]  # when it became a run, failed or was skipped

    __table_args__ = (
        UniqueConstraint("schedule_id", "due_at"),
        Index(None, "state"),
        known(FiringState),
        CheckConstraint("(state = 'due') = (ended_at IS NULL)", name="ended_has_time"),
        CheckConstraint("state <> 'failed' OR error IS NOT NULL", name="failed_says_why"),
    )
