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

import structlog
from sqlalchemy import ColumnElement, Table, Update, and_, bindparam, or_, select, update
from sqlalchemy.orm import Session

from schema.database import Database, record_event
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

HintedTable = type[Batch] | type[Network] | type[Calibration] | type[Preparation]
LeasedTable = HintedTable | type[Embedding]

# The state that a holder keeps a row in.
_HELD: dict[LeasedTable, State] = {
    Batch: BatchState.SAMPLING,
    Network: NetworkState.TRAINING,
    Calibration: CalibrationState.FITTING,
    Embedding: EmbeddingState.SEARCHING,
    Preparation: PreparationState.PREPARING,
}


@dataclass(frozen=True)
class Lease:
    """The right to work on one row. ``fence`` tells this claim from every other one."""

    table: LeasedTable
    row: int
    fence: int
    attempt: int


def claim_batch(session: Session, batch: int, *, now: datetime, lease_s: float) -> Lease | None:
    """Claim a batch that is due in a run that is live, or that left something with its solver.

    None: nothing to do here.
    """
    live = select(Run.id).where(Run.id == Batch.run_id, Run.state.in_(LIVE_RUNS)).exists()
    due = and_(Batch.state == BatchState.PENDING, Batch.due_at <= now, or_(live, left_in_flight()))
    return _claim(session, Batch, batch, due, BatchState.PENDING, now, lease_s)


def claim_network(session: Session, network: int, *, now: datetime, lease_s: float) -> Lease | None:
    """Claim a network that waits for training. None: nothing to do here."""
    due = Network.state == NetworkState.QUEUED
    return _claim(session, Network, network, due, NetworkState.QUEUED, now, lease_s)


def claim_calibration(session: Session, calibration: int, *, now: datetime, lease_s: float) -> Lease | None:
    """Claim a calibration whose runs are all finished. None: nothing to do here."""
    return _claim(
        session, Calibration, calibration, calibration_due(), CalibrationState.WAITING, now, lease_s
    )


def claim_dry_run(session: Session, preparation: int, *, now: datetime, lease_s: float) -> Lease | None:
    """Claim a preparation that waits. None: nothing to do here."""
    due = Preparation.state == PreparationState.QUEUED
    return _claim(session, Preparation, preparation, due, PreparationState.QUEUED, now, lease_s)


def claim_embedding(session: Session, embedding: int, *, now: datetime, lease_s: float) -> Lease | None:
    """Claim the search for an embedding that failed, or whose searcher fell silent. None: not so."""
    for source in (EmbeddingState.FAILED, EmbeddingState.SEARCHING):
        due = Embedding.state == source
        if source is EmbeddingState.SEARCHING:
            due = and_(due, Embedding.lease_until < now)
        lease = _claim(session, Embedding, embedding, due, source, now, lease_s)
        if lease is not None:
            return lease
    return None


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
    due: ColumnElement[bool],
    source: State,
    now: datetime,
    lease_s: float,
) -> Lease | None:
    target = _HELD[table]
    claimed = session.execute(
        update(table)
        .where(table.id == row, due)
        .values(
            state=target,
            fence=table.fence + 1,
            attempts=table.attempts + 1,
            lease_until=now + timedelta(seconds=lease_s),
            started_at=now,
        )
        .returning(table.fence, table.attempts)
    ).first()
    if claimed is None:
        return None
    record_event(session, table.__tablename__, row, source, target, now=now)
    return Lease(table, row, *claimed)


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
    return update(table).where(*mine, table.c.state == _HELD[leased]).values(lease_until=bindparam("until_"))


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
