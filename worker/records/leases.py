"""Claims and leases: who works on a row, until when, and how the work is handed back.

A claim is one guarded statement. Every later write of the holder carries its fence; when
somebody else has claimed the row since, the write finds nothing and `LeaseLost` is raised.
"""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import NamedTuple

import structlog
from sqlalchemy import ColumnElement, Table, Update, and_, bindparam, or_, select, true, update
from sqlalchemy.orm import Session

from schema.database import Database, transition_if
from schema.errors import LeaseLost, StorageError
from schema.states import (
    HALTED_RUNS,
    LIVE_RUNS,
    BatchState,
    CalibrationState,
    EmbeddingState,
    NetworkState,
    PreparationState,
    State,
)
from schema.tables import Batch, Calibration, Embedding, Network, Preparation, Problem, Run
from schema.tables.costs import IN_FLIGHT

log = structlog.get_logger()

SimplyClaimed = type[Network] | type[Calibration] | type[Preparation]
HintedTable = type[Batch] | SimplyClaimed
LeasedTable = HintedTable | type[Embedding]


class LeaseStates(NamedTuple):
    """States of a row before a lease, under it, and after its last attempt failed."""

    waiting: State
    held: State
    failed: State


STATES: dict[LeasedTable, LeaseStates] = {
    Batch: LeaseStates(BatchState.PENDING, BatchState.SAMPLING, BatchState.FAILED),
    Network: LeaseStates(NetworkState.QUEUED, NetworkState.TRAINING, NetworkState.FAILED),
    Calibration: LeaseStates(CalibrationState.WAITING, CalibrationState.FITTING, CalibrationState.FAILED),
    Preparation: LeaseStates(PreparationState.QUEUED, PreparationState.PREPARING, PreparationState.FAILED),
    # A failed search waits until the next batch needs the embedding.
    Embedding: LeaseStates(EmbeddingState.FAILED, EmbeddingState.SEARCHING, EmbeddingState.FAILED),
}


@dataclass(frozen=True)
class Lease:
    """The right to work on one row. ``fence`` tells this claim from every other one."""

    table: LeasedTable
    row: int
    fence: int
    attempt: int


def claim_batch(session: Session, batch: int, *, now: datetime, lease_s: float) -> Lease | None:
    """Claim ``batch`` for ``lease_s`` seconds from ``now``; return None if it is not due or already claimed.

    A batch of a run that is paused or cancelled is claimed only if it has problems in flight to collect.
    """
    live = select(Run.id).where(Run.id == Batch.run_id, Run.state.in_(LIVE_RUNS)).exists()
    return _claim(session, Batch, batch, and_(Batch.due_at <= now, or_(live, left_in_flight())), now, lease_s)


def claim(session: Session, table: SimplyClaimed, row: int, *, now: datetime, lease_s: float) -> Lease | None:
    """Claim ``row`` of ``table`` for ``lease_s`` seconds from ``now``; return None if it does not wait.

    A calibration is claimed once all of its runs are finished.
    """
    condition = calibration_due() if table is Calibration else true()
    return _claim(session, table, row, condition, now, lease_s)


def claim_embedding(session: Session, embedding: int, *, now: datetime, lease_s: float) -> Lease | None:
    """Claim the search for ``embedding`` for ``lease_s`` seconds from ``now``.

    Return None unless an earlier search failed, or the lease of its worker has expired.
    """
    lease = _claim(session, Embedding, embedding, true(), now, lease_s)
    if lease is None:
        held = EmbeddingState.SEARCHING
        lease = _claim(session, Embedding, embedding, Embedding.lease_until < now, now, lease_s, source=held)
    return lease


def left_in_flight() -> ColumnElement[bool]:
    """Whether a batch of a run that was paused or cancelled still has problems with its solver."""
    halted = select(Run.id).where(Run.id == Batch.run_id, Run.state.in_(HALTED_RUNS)).exists()
    return and_(halted, Batch.id.in_(select(Problem.batch_id).where(Problem.state.in_(IN_FLIGHT))))


def calibration_due() -> ColumnElement[bool]:
    """Whether a calibration waits, and no longer for any of its runs."""
    unfinished = select(Run.id).where(Run.calibrates == Calibration.id, Run.finished_at.is_(None)).exists()
    return and_(Calibration.state == CalibrationState.WAITING, ~unfinished)


def _claim(
    session: Session,
    table: LeasedTable,
    row: int,
    condition: ColumnElement[bool],
    now: datetime,
    lease_s: float,
    *,
    source: State | None = None,
) -> Lease | None:
    states = STATES[table]
    claimed = transition_if(
        session,
        row,
        source or states.waiting,
        states.held,
        condition,
        returning=(table.fence, table.attempts),
        now=now,
        fence=table.fence + 1,
        attempts=table.attempts + 1,
        lease_until=now + timedelta(seconds=lease_s),
        started_at=now,
    )
    return None if claimed is None else Lease(table, row, *claimed)


def renew(session: Session, lease: Lease, *, now: datetime, lease_s: float) -> None:
    """Prolong the lease; the first statement of every transaction of its holder.

    Raises:
        LeaseLost: somebody else has claimed the row, or it was moved on.
    """
    table = lease.table
    values = {"row_": lease.row, "fence_": lease.fence, "until_": now + timedelta(seconds=lease_s)}
    if not session.execute(_renewal(table), values).rowcount:  # type: ignore[attr-defined]
        raise LeaseLost(f"{table.__tablename__} {lease.row} was taken over after claim {lease.fence}")


@cache
def _renewal(leased: LeasedTable) -> Update:
    """Built once: it is part of every transaction of a holder."""
    table: Table = leased.__table__  # type: ignore[assignment]
    mine = (table.c.id == bindparam("row_"), table.c.fence == bindparam("fence_"))
    return (
        update(table)
        .where(*mine, table.c.state == STATES[leased].held)
        .values(lease_until=bindparam("until_"))
    )


@contextmanager
def keep_alive(database: Database, lease: Lease, lease_s: float) -> Iterator[None]:
    """Keep a lease alive from a thread while the body works.

    A renewal that fails is only logged here: the body's own next transaction is fenced and finds out.
    """
    stop = threading.Event()

    def beat() -> None:
        while not stop.wait(lease_s / 3):
            try:
                with database.transaction() as session:
                    renew(session, lease, now=database.now(session), lease_s=lease_s)
            except LeaseLost:
                return
            except StorageError as error:
                log.warning(
                    "lease not renewed", table=lease.table.__tablename__, row=lease.row, error=str(error)
                )

    # With the ids that log lines of this task have.
    bound = contextvars.copy_context()
    thread = threading.Thread(target=bound.run, args=(beat,), name=f"lease-{lease.row}", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
