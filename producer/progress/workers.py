"""The workers: which are alive, which are dead, and what they do. One query for everyone.

Each process of a worker's pool has a row of its own, and writes it every few seconds.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, and_, func, select
from sqlalchemy.orm import Session

from schema.database.rows import copy_row
from schema.tables.processes import SILENT_S, Worker


class WorkerState(StrEnum):
    """What a worker does, or how it ended."""

    WORKING = "working"
    WAITING = "waiting"  # for work
    STOPPED = "stopped"  # it said so itself
    DEAD = "dead"  # it was killed, or it cannot reach the database


ALIVE = frozenset({WorkerState.WORKING, WorkerState.WAITING})


@dataclass(frozen=True)
class WorkerSummary:
    """A process that works on batches.

    Attributes:
        name: host, process id and random digits.
        accounts: first digits of the digest of the token for each solver with qubits; empty without a token.
        task, run_id, batch_id, task_since: what it works on; None: it waits for work, or has ended.
    """

    name: str
    host: str
    pid: int
    version: str
    state: WorkerState
    accounts: dict[str, str]
    task: str | None
    run_id: int | None
    batch_id: int | None
    task_since: datetime | None
    started_at: datetime
    seen_at: datetime
    stopped_at: datetime | None

    @property
    def is_alive(self) -> bool:
        return self.state in ALIVE

    @property
    def solvers(self) -> list[str]:
        """Return the solvers with qubits that it has a token for."""
        return sorted(solver for solver, account in self.accounts.items() if account)

    def to_dict(self) -> dict[str, Any]:
        """Return the fields for JSON, without the accounts, which are of no use to people."""
        named = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "accounts"}
        return {**named, "solvers": self.solvers}


def list_workers(session: Session, now: datetime) -> list[WorkerSummary]:
    """Return the workers in ``session`` as they are ``now``, the living first; the dead for an hour."""
    rows = session.execute(select(Worker).order_by(Worker.started_at, Worker.name)).scalars()
    found = [_summary(row, now) for row in rows]
    return sorted(found, key=lambda worker: not worker.is_alive)


def count_alive(session: Session, now: datetime) -> int:
    """Return how many workers in ``session`` are alive ``now``."""
    return session.execute(select(func.count()).select_from(Worker).where(_alive(now))).scalar_one()


def _alive(now: datetime) -> ColumnElement[bool]:
    return and_(Worker.stopped_at.is_(None), Worker.seen_at > now - timedelta(seconds=SILENT_S))


def _summary(row: Worker, now: datetime) -> WorkerSummary:
    return copy_row(row, WorkerSummary, state=_state(row, now))


def _state(row: Worker, now: datetime) -> WorkerState:
    if row.stopped_at is not None:
        return WorkerState.STOPPED
    if row.seen_at <= now - timedelta(seconds=SILENT_S):
        return WorkerState.DEAD
    return WorkerState.WAITING if row.task is None else WorkerState.WORKING
