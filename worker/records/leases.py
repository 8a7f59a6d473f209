"""Claims and leases: which worker may work on a batch or another row, and until when.

A claim is one guarded transition. Each later transaction of the holder first renews the lease by its fence:
if another worker has claimed the row since, no row matches and `LeaseLost` is raised.
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
    """States of a row before a lease, under it, and after an attempt succeeded or the last one failed."""

    waiting: State
    held: State
    done: State
    failed: State


_B, _N, _C, _P, _E = BatchState, NetworkState, CalibrationState, PreparationState, EmbeddingState
STATES: dict[LeasedTable, LeaseStates] = {
    Batch: LeaseStates(_B.PENDING, _B.SAMPLING, _B.SAMPLED, _B.FAILED),
    Network: LeaseStates(_N.QUEUED, _N.TRAINING, _N.READY, _N.FAILED),
    Calibration: LeaseStates(_C.WAITING, _C.FITTING, _C.READY, _C.FAILED),
    Preparation: LeaseStates(_P.QUEUED, _P.PREPARING, _P.READY, _P.FAILED),
    # A failed search waits until another batch needs the embedding.
    Embedding: LeaseStates(_E.FAILED, _E.SEARCHING, _E.READY, _E.FAILED),
}


@dataclass(frozen=True)
class Lease:
    """Right to work on one row; ``fence`` distinguishes this claim from all others."""

    table: LeasedTable
    row: int
    fence: int
    attempt: int


def claim_batch(session: Session, batch: int, *, now: datetime, lease_s: float) -> Lease | None:
    """Claim ``batch`` in ``session`` for ``lease_s`` seconds from ``now``; return None if it is not due.

    A batch of a run that is paused or cancelled is claimed only if it has problems in flight to collect.
    """
    live = select(Run.id).where(Run.id == Batch.run_id, Run.state.in_(LIVE_RUNS)).exists()
    return _claim(session, Batch, batch, and_(Batch.due_at <= now, or_(live, left_in_flight())), now, lease_s)


def claim(session: Session, table: SimplyClaimed, row: int, *, now: datetime, lease_s: float) -> Lease | None:
    """Claim ``row`` of ``table`` in ``session`` for ``lease_s`` seconds from ``now``, if it is waiting.

    A calibration is claimed once all of its runs are finished.
    """
    condition = calibration_due() if table is Calibration else true()
    return _claim(session, table, row, condition, now, lease_s)


def claim_embedding(session: Session, embedding: int, *, now: datetime, lease_s: float) -> Lease | None:
    """Claim the search for ``embedding`` in ``session`` for ``lease_s`` seconds from ``now``.

    Return None unless an earlier search failed, or the lease of its worker has expired.
    """
    lease = _claim(session, Embedding, embedding, true(), now, lease_s)
    if lease is None:
        source = EmbeddingState.SEARCHING
        lease = _claim(
            session, Embedding, embedding, Embedding.lease_until < now, now, lease_s, source=source
        )
    return lease


def left_in_flight() -> ColumnElement[bool]:
    """Build the condition that a batch of a paused or cancelled run has problems in flight."""
    halted = select(Run.id).where(Run.id == Batch.run_id, Run.state.in_(HALTED_RUNS)).exists()
    return and_(halted, Batch.id.in_(select(Problem.batch_id).where(Problem.state.in_(IN_FLIGHT))))


def calibration_due() -> ColumnElement[bool]:
    """Build the condition that a calibration waits and all of its runs have finished."""
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
    """Renew ``lease`` for ``lease_s`` seconds from ``now``, as the first statement in a ``session``.

    Raises:
        LeaseLost: another worker has claimed the row, or its state has changed.
    """
    table = lease.table
    values = {"row_": lease.row, "fence_": lease.fence, "until_": now + timedelta(seconds=lease_s)}
    if not session.execute(_renewal(table), values).rowcount:  # type: ignore[attr-defined]
        raise LeaseLost(f"{table.__tablename__} {lease.row} was taken over after claim {lease.fence}")


@cache
def _renewal(leased: LeasedTable) -> Update:
    """Build a statement once that is part of every transaction of a holder."""
    table: Table = leased.__table__  # type: ignore[assignment]
    own = (table.c.id == bindparam("row_"), table.c.fence == bindparam("fence_"))
    return (
        update(table)
        .where(*own, table.c.state == STATES[leased].held)
        .values(lease_until=bindparam("until_"))
    )


@contextmanager
def transaction(database: Database, lease: Lease, lease_s: float) -> Iterator[tuple[Session, datetime]]:
    """Open a transaction of ``database`` that first renews ``lease`` for ``lease_s`` seconds.

    Yields:
        The session and its time.

    Raises:
        LeaseLost: another worker has claimed the row.
    """
    with database.transaction() as session:
        now = database.now(session)
        renew(session, lease, now=now, lease_s=lease_s)
        yield session, now


@contextmanager
def keep_alive(database: Database, lease: Lease, lease_s: float) -> Iterator[None]:
    """Renew ``lease`` in a thread every third of ``lease_s`` while the body works: the heartbeat of a worker.

    A failure is only logged: the next transaction of the body on ``database`` renews it and fails, too.
    """
    stop = threading.Event()

    def beat() -> None:
        while not stop.wait(lease_s / 3):
            try:
                with transaction(database, lease, lease_s):
                    pass
            except LeaseLost:
                return
            except StorageError as error:
                log.warning(
                    "lease not renewed", table=lease.table.__tablename__, row=lease.row, error=str(error)
                )

    # The thread's log lines have the ids of this task.
    bound = contextvars.copy_context()
    thread = threading.Thread(target=bound.run, args=(beat,), name=f"lease-{lease.row}", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
