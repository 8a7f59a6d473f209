"""Makes runs of firings: its own small process, which reads images where the producer can read them.

    annealq schedules serve

The reconciler, on the worker's side, makes the firings, and does not read images. A firing's run has the
schedule's name and the due time as idempotency key: however often this process dies, and however many of it
run, a firing has one run.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from datetime import datetime
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from producer import jobs
from producer.context import AppContext
from producer.planning import schedules
from producer.runs.request import ClassificationRequest
from schema.database import transition
from schema.database.leader_lease import run_while_leading
from schema.errors import AnnealqError, StaleState, StorageError
from schema.states import FiringState
from schema.tables import Firing, Run, Schedule

MAX_ATTEMPTS = 3  # a file that kills its reader must not do so for ever
ROLE = "scheduler"
LEASE_S = 10.0
EVERY_S = 1.0


def serve(at: AppContext, stop: threading.Event) -> None:
    """Make runs of all firings that are due, until ``stop``; a database that is away is waited for."""

    def enqueue_due(leads: Callable[[], bool]) -> None:
        for firing in due_firings(at):
            if leads():  # the one before may have taken longer than the lease
                enqueue_firing(at, firing)

    def report(error: StorageError) -> None:
        sys.stderr.write(f"database not reachable: {error}\n")

    run_while_leading(
        at.database, ROLE, enqueue_due, stop, lease_s=LEASE_S, every_s=EVERY_S, on_outage=report
    )


def due_firings(at: AppContext) -> list[int]:
    """The firings that wait for a run, oldest first."""
    with at.database.reading() as session:
        query = select(Firing.id).where(Firing.state == FiringState.DUE).order_by(Firing.due_at)
        return list(session.execute(query).scalars())


def enqueue_firing(at: AppContext, firing: int) -> None:
    """Make a run of a firing, or keep why that cannot be done.

    Raises:
        StorageError: the database is away; the firing stays due.
    """
    with at.database.transaction() as session:
        started = session.execute(
            update(Firing)
            .where(Firing.id == firing, Firing.state == FiringState.DUE)
            .values(attempts=Firing.attempts + 1)
            .returning(Firing.attempts)
        ).first()
    if started is None:
        return
    try:
        if started.attempts > MAX_ATTEMPTS:
            raise AnnealqError(f"the process that reads its images died {MAX_ATTEMPTS} times")
        run, sha256 = _enqueue(at, firing)
    except StorageError:
        with at.database.transaction() as session:  # no fault of the firing
            session.execute(update(Firing).where(Firing.id == firing).values(attempts=Firing.attempts - 1))
        raise
    except AnnealqError as error:
        _end(at, firing, FiringState.FAILED, error=f"{type(error).__name__}: {error}")
        return
    _end(at, firing, FiringState.ENQUEUED, run_id=run, data_sha256=sha256)


def _enqueue(at: AppContext, firing: int) -> tuple[int, str | None]:
    """The run of a firing, and the digest of its data; None where that run was there already."""
    with at.database.reading() as session:
        row = session.execute(
            select(Schedule.name, Firing.due_at, Schedule.request)
            .join(Firing, Firing.schedule_id == Schedule.id)
            .where(Firing.id == firing)
        ).first()
        if row is None:
            raise StaleState(f"firing {firing} was removed with its schedule")
        key = key_of(row.name, row.due_at)
        known = _known(session, key)
    if known is not None:  # made by one that died before it could say so; the data may have changed since
        return known, None
    request = ClassificationRequest.from_dict(row.request)
    images = request.read()
    run, _ = jobs.submit(at, request, images, key)
    return run.id, schedules.digest(images)


def key_of(name: str, due_at: datetime) -> str:
    """The idempotency key of a firing's run."""
    return f"schedule:{name}:{due_at.isoformat()}"


def _known(session: Session, key: str) -> int | None:
    return session.execute(select(Run.id).where(Run.idempotency_key == key)).scalar()


def _end(at: AppContext, firing: int, target: FiringState, **values: Any) -> None:
    try:
        with at.database.transaction() as session:
            now = at.database.now(session)
            transition(session, firing, FiringState.DUE, target, now=now, ended_at=now, **values)
    except StaleState:
        return  # another one was faster, or the schedule was removed
