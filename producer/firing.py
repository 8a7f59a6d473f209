"""Makes runs of firings: its own small process, which reads images where the producer can read them.

    annealq schedules serve

The reconciler, on the worker's side, makes the firings, and does not read images. A firing's run has the
schedule's name and the due time as idempotency key: however often this process dies, and however many of it
run, a firing has one run.
"""

from __future__ import annotations

import sys
import threading
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, and_, or_, select, update
from sqlalchemy.orm import Session

from producer import jobs, schedules
from producer.request import Request
from producer.session import Work
from schema.database import advance
from schema.errors import AnnealqError, StaleState, StorageError
from schema.parameters import Parameters
from schema.states import FiringState
from schema.tables import Firing, Run, Schedule

MAX_ATTEMPTS = 3  # a file that kills its reader must not do so for ever
LEASE = timedelta(seconds=60)
EVERY_S = 1.0


def serve(at: Work, stop: threading.Event) -> None:
    """Make runs of all firings that are due, until ``stop``; a database that is away is waited for."""
    reachable = True
    while not stop.is_set():
        try:
            for firing in due(at):
                fulfil(at, firing)
            reachable = True
        except StorageError as error:
            if reachable:
                sys.stderr.write(f"database not reachable: {error}\n")
            reachable = False
        stop.wait(EVERY_S)


def due(at: Work) -> list[int]:
    """The firings that wait for a run, oldest first."""
    with at.database.reading() as session:
        now = at.database.now(session)
        waits = and_(Firing.state == FiringState.DUE, _free(now))
        return list(session.execute(select(Firing.id).where(waits).order_by(Firing.due_at)).scalars())


def fulfil(at: Work, firing: int) -> None:
    """Claim a firing, and make a run of it or keep why that cannot be done.

    Raises:
        StorageError: the database is away; the firing stays due.
    """
    attempt = _claim(at, firing)
    if attempt is not None:
        _fulfil(at, firing, attempt)


def fulfil_now(at: Work, name: str) -> int:
    """Make a firing of a schedule that is due now, by hand, and fulfil it; returns it.

    Raises:
        NotFound: there is no such schedule. StorageError: the database is away.
    """
    firing = schedules.fire(at.database, name, lease=LEASE)
    _fulfil(at, firing, 1)
    return firing


def _fulfil(at: Work, firing: int, attempt: int) -> None:
    try:
        if attempt > MAX_ATTEMPTS:
            raise AnnealqError(f"the process that reads its images died {MAX_ATTEMPTS} times")
        run, sha256 = _enqueue(at, firing)
    except StorageError:
        with at.database.transaction() as session:  # no fault of the firing; its lease runs out
            session.execute(update(Firing).where(Firing.id == firing).values(attempts=Firing.attempts - 1))
        raise
    except AnnealqError as error:
        _end(at, firing, FiringState.FAILED, error=f"{type(error).__name__}: {error}")
        return
    _end(at, firing, FiringState.ENQUEUED, run_id=run, data_sha256=sha256)


def _claim(at: Work, firing: int) -> int | None:
    """Take a firing; which attempt this is. None: it is not due any more, or somebody else has it.

    Two that had it at once would make one run all the same; the lease keeps them from reading for nothing.
    """
    with at.database.transaction() as session:
        now = at.database.now(session)
        return session.execute(
            update(Firing)
            .where(Firing.id == firing, Firing.state == FiringState.DUE, _free(now))
            .values(attempts=Firing.attempts + 1, lease_until=now + LEASE)
            .returning(Firing.attempts)
        ).scalar()


def _free(now: datetime) -> ColumnElement[bool]:
    return or_(Firing.lease_until.is_(None), Firing.lease_until < now)


def _enqueue(at: Work, firing: int) -> tuple[int, str | None]:
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
        now = at.database.now(session)
    if known is not None:  # made by one that died before it could say so; the data may have changed since
        return known, None
    request = Request.from_dict(row.request)
    images = request.read()
    options = request.options(now, key)
    if request.calibrated:
        run, _ = jobs.submit_calibrated(at, images, request.network, request.solver, request.asked, options)
    else:
        parameters = Parameters.from_dict(request.asked)
        run = jobs.submit(at, images, request.network, request.solver, parameters, options)
    return run.id, schedules.digest(images)


def key_of(name: str, due_at: datetime) -> str:
    """The idempotency key of a firing's run."""
    return f"schedule:{name}:{due_at.isoformat()}"


def _known(session: Session, key: str) -> int | None:
    return session.execute(select(Run.id).where(Run.idempotency_key == key)).scalar()


def _end(at: Work, firing: int, target: FiringState, **values: Any) -> None:
    try:
        with at.database.transaction() as session:
            now = at.database.now(session)
            advance(session, firing, FiringState.DUE, target, at=now, ended_at=now, **values)
    except StaleState:
        return  # another one was faster, or the schedule was removed
