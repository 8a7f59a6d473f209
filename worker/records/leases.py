"""Leases: until when a worker owns the row that it has claimed.

Each transaction of the holder first renews the lease by its fence: if another worker has claimed the row
since, no row matches and `LeaseLost` is raised.
"""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import NamedTuple

import structlog
from sqlalchemy import Table, Update, bindparam, update
from sqlalchemy.orm import Session

from schema.database import Database
from schema.database.leader_lease import lead, release
from schema.errors import LeaseLost, StorageError
from schema.states import (
    BatchState,
    CalibrationState,
    EmbeddingState,
    FeatureSetState,
    NetworkState,
    PlanState,
    PreparationState,
    State,
)
from schema.tables import Batch, Calibration, CalibrationPlan, Embedding, FeatureSet, Network, Preparation

log = structlog.get_logger()

SimplyClaimed = (
    type[Network] | type[CalibrationPlan] | type[Calibration] | type[Preparation] | type[FeatureSet]
)
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
    CalibrationPlan: LeaseStates(PlanState.QUEUED, PlanState.PLANNING, PlanState.READY, PlanState.FAILED),
    Preparation: LeaseStates(_P.QUEUED, _P.PREPARING, _P.READY, _P.FAILED),
    FeatureSet: LeaseStates(
        FeatureSetState.QUEUED, FeatureSetState.COMPUTING, FeatureSetState.READY, FeatureSetState.FAILED
    ),
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

    def renewed() -> bool:
        try:
            with transaction(database, lease, lease_s):
                return True
        except LeaseLost:
            return False

    with _beating(renewed, lease_s / 3, f"{lease.table.__tablename__} {lease.row}"):
        yield


@contextmanager
def keep_leading(database: Database, role: str, holder: str, lease_s: float) -> Iterator[None]:
    """Renew the lease of ``role`` that ``holder`` has in ``database``, as `keep_alive` does.

    If the body fails, the lease ends, so that another process may begin at once.
    """

    def renewed() -> bool:
        with database.transaction() as session:
            return lead(session, role, holder, now=database.now(session), lease_s=lease_s)

    def give_up() -> None:
        with suppress(StorageError), database.transaction() as session:
            release(session, role, holder)

    with ExitStack() as on_failure:
        on_failure.callback(give_up)
        with _beating(renewed, lease_s / 3, role):
            yield
        on_failure.pop_all()


@contextmanager
def _beating(renewed: Callable[[], bool], every_s: float, what: str) -> Iterator[None]:
    """Call ``renewed`` in a thread every ``every_s`` seconds while the body works, until it returns False."""
    stop = threading.Event()

    def beat() -> None:
        while not stop.wait(every_s):
            try:
                if not renewed():
                    return
            except StorageError as error:
                log.warning("lease not renewed", lease=what, error=str(error))

    # The thread's log lines have the ids of this task.
    bound = contextvars.copy_context()
    thread = threading.Thread(target=bound.run, args=(beat,), name=f"lease-{what}", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
