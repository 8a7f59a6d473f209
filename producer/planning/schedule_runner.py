"""Turns due firings into runs. Runs as a separate process because it must read the image files.

    annealq schedules serve

The reconciler, on the worker's side, creates the firings. The idempotency key of a run is the schedule's name
and the due time: so each firing has one run, even if this process crashes or several of it run.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import select, update

from producer import jobs
from producer.context import AppContext
from producer.intake.find import read_or_open
from producer.intake.process import reading
from producer.networks.choose import inputs
from producer.runs.request import ClassificationRequest
from schema.database import transition
from schema.database.leader_lease import run_while_leading
from schema.errors import AnnealqError, StaleState, StorageError, reason
from schema.states import FiringState
from schema.tables import Firing, Run, Schedule

MAX_ATTEMPTS = 3  # of a file whose reader crashes
ROLE = "scheduler"
LEASE_S = 10.0
EVERY_S = 1.0


def serve(app: AppContext, stop: threading.Event) -> None:
    """Enqueue a run for each due firing of ``app`` until ``stop`` is set; outages are waited for."""

    def enqueue_due(leads: Callable[[], bool]) -> None:
        for firing in due_firings(app):
            if leads():  # the one before may have taken longer than the lease
                enqueue_firing(app, firing)

    def report(error: StorageError) -> None:
        with suppress(OSError):  # its log may be on the disk that is full
            sys.stderr.write(f"database not reachable: {error}\n")
            sys.stderr.flush()

    with reading(app.settings, app.database):
        run_while_leading(
            app.database, ROLE, enqueue_due, stop, lease_s=LEASE_S, every_s=EVERY_S, on_outage=report
        )


def due_firings(app: AppContext) -> list[int]:
    """Return the ids of due firings in the database of ``app``, oldest first."""
    with app.database.reading() as session:
        query = select(Firing.id).where(Firing.state == FiringState.DUE).order_by(Firing.due_at)
        return list(session.execute(query).scalars())


def enqueue_firing(app: AppContext, firing: int) -> None:
    """Enqueue the run of ``firing`` in ``app``, or store the reason why that is impossible.

    Raises:
        StorageError: the database is not reachable; the firing stays due.
    """
    with app.database.transaction() as session:
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
            raise AnnealqError(f"the reader process crashed {MAX_ATTEMPTS} times")
        run, sha256 = _enqueue(app, firing)
    except StorageError:
        with app.database.transaction() as session:  # not caused by the firing
            session.execute(update(Firing).where(Firing.id == firing).values(attempts=Firing.attempts - 1))
        raise
    except AnnealqError as error:
        _finish(app, firing, FiringState.FAILED, error=reason(error))
        return
    _finish(app, firing, FiringState.ENQUEUED, run_id=run, data_sha256=sha256)


def _enqueue(app: AppContext, firing: int) -> tuple[int, str | None]:
    """Return the run of a firing, and the digest of its data or None if the run existed already."""
    with app.database.reading() as session:
        row = session.execute(
            select(Schedule.name, Firing.due_at, Schedule.request)
            .join(Firing, Firing.schedule_id == Schedule.id)
            .where(Firing.id == firing)
        ).first()
        if row is None:
            raise StaleState(f"firing {firing} was removed with its schedule")
        key = key_of(row.name, row.due_at)
        earlier = session.execute(select(Run.id).where(Run.idempotency_key == key)).scalar()
    if earlier is not None:  # enqueued by a process that crashed; the data may have changed since
        return earlier, None
    request = ClassificationRequest.from_dict(row.request)
    images, source = read_or_open(request, inputs(app.database, request.network))
    if images.origin is not None:
        due = replace(images.origin, schedule=row.name, due_at=row.due_at.isoformat())
        images = replace(images, origin=due)
        source = None if source is None else replace(source, origin=due)
    run, _ = jobs.submit(app, request, images, key, source=source, background=source is not None)
    return run.id, images.digest() if source is None else source.digest()


def key_of(name: str, due_at: datetime) -> str:
    """Return the idempotency key of the run of schedule ``name`` that is due at ``due_at``."""
    return f"schedule:{name}:{due_at.isoformat()}"


def _finish(app: AppContext, firing: int, target: FiringState, **values: Any) -> None:
    try:
        with app.database.transaction() as session:
            now = app.database.now(session)
            transition(session, firing, FiringState.DUE, target, now=now, ended_at=now, **values)
    except StaleState:
        return  # another process was faster, or the schedule was removed
