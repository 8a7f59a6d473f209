"""Tables of running processes: workers, and the leader of each role."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from schema.tables.columns import Base

BEAT_S = 3.0  # pause between the signs of life of a worker
SILENT_S = 15.0  # without one for this long, it is dead


class Worker(Base):
    """A worker process: whether it is alive, and what it does."""

    __tablename__ = "workers"

    name: Mapped[str] = mapped_column(String(128), primary_key=True)  # host, process id and a random number
    host: Mapped[str] = mapped_column(String(255))
    pid: Mapped[int]
    version: Mapped[str] = mapped_column(String(32))  # of annealq
    # For each solver with qubits: first digits of the digest of its token, empty without a token. The token
    # itself is stored nowhere.
    accounts: Mapped[dict[str, Any]]
    task: Mapped[str | None] = mapped_column(
        String(32)
    )  # that it works on: sample, train, ...; None: it waits
    run_id: Mapped[int | None] = mapped_column(BigInteger)  # of that task
    batch_id: Mapped[int | None] = mapped_column(BigInteger)
    task_since: Mapped[datetime | None]
    started_at: Mapped[datetime]
    seen_at: Mapped[datetime]  # its latest sign of life
    stopped_at: Mapped[datetime | None]  # it said so itself; a killed worker only stops being seen

    __table_args__ = (Index(None, "seen_at"),)


class Leader(Base):
    """The process of each role that leads, and until when."""

    __tablename__ = "leaders"

    role: Mapped[str] = mapped_column(String(32), primary_key=True)  # reconciler, ...
    holder: Mapped[str] = mapped_column(String(128))  # host, process id and a random number
    until: Mapped[datetime]
