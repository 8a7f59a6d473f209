"""Tables of what is to be enqueued again and again, and of each time that it was due."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, Index, String, Text, UniqueConstraint, false
from sqlalchemy.orm import Mapped, mapped_column

from schema.states import FiringState, ScheduleState
from schema.tables.columns import Base, Key, known

__all__ = ["Firing", "Schedule"]


class Schedule(Base):
    """A request that is turned into a run whenever it is due."""

    __tablename__ = "schedules"

    id: Mapped[int] = mapped_column(Key, primary_key=True)
    name: Mapped[str] = mapped_column(String(64), unique=True)
    state: Mapped[ScheduleState]
    cron: Mapped[str] = mapped_column(String(100))
    zone: Mapped[str] = mapped_column(String(64))
    request: Mapped[dict[str, Any]]  # see `producer.runs.request`
    data_sha256: Mapped[str] = mapped_column(String(64))  # of its images and labels when it was added
    next_at: Mapped[datetime]  # when it is due next
    planned_at: Mapped[datetime]  # when that was worked out; in the future: a clock was wrong
    created_at: Mapped[datetime]

    __table_args__ = (known(ScheduleState), Index(None, "state", "next_at"))


class Firing(Base):
    """One time that a schedule was due. Its run has the schedule's name and this time as idempotency key."""

    __tablename__ = "firings"

    id: Mapped[int] = mapped_column(Key, primary_key=True)
    schedule_id: Mapped[int] = mapped_column(ForeignKey("schedules.id", ondelete="CASCADE"))
    due_at: Mapped[datetime]
    by_hand: Mapped[bool] = mapped_column(default=False, server_default=false())
    missed: Mapped[int] = mapped_column(default=0)  # earlier due times that it stands for
    state: Mapped[FiringState]
    attempts: Mapped[int] = mapped_column(default=0)
    run_id: Mapped[int | None] = mapped_column(ForeignKey("runs.id", ondelete="SET NULL"))
    data_sha256: Mapped[str | None] = mapped_column(String(64))
    error: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]

    __table_args__ = (
        UniqueConstraint("schedule_id", "due_at"),
        Index(None, "state"),
        known(FiringState),
        CheckConstraint("(state = 'due') = (ended_at IS NULL)", name="ended_has_time"),
        CheckConstraint("state <> 'failed' OR error IS NOT NULL", name="failed_says_why"),
    )
