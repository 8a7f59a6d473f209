"""Reads on the images of runs that nobody waits for: those of the API and of schedules.

    annealq runs read

Processes of the service start it whenever an intake waits; see `producer.intake.process`. A reader holds a
lease of the intake, which each of its transactions renews: if it is killed, another one reads on from the end
of the run. An intake is read where its files are.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import update

from producer.intake import uploads
from producer.intake.find import Takes, source_of
from producer.intake.read_on import read_on, stop_reading
from producer.intake.waiting import LEASE, free, origin_of, waiting_here
from producer.networks.choose import inputs
from producer.runs.queries import run as summary_of
from schema.database import Database, transition
from schema.database.leader_lease import process_name
from schema.errors import AnnealqError, StaleState, StorageError, reason
from schema.states import IntakeState
from schema.tables import Intake

MAX_ATTEMPTS = 3  # of a source whose reader dies before it has added a batch


def read_waiting(
    database: Database,
    home: Path,
    only: int | None = None,
    report: Callable[[int, int], None] = lambda _run, _images: None,
) -> list[int]:
    """Read on all intakes of ``database`` that wait, and whose files are here; return their runs.

    What cannot be read stops its intake with the reason, and the next one is read.

    Args:
        home: the folder with uploaded files; those that nobody needs any more are removed.
        only: a run, if only its intake is read on.
        report: is called with the run and its number of images, whenever batches were added.

    Raises:
        StorageError: the database is not reachable.
    """
    reader, done = process_name(), list[int]()
    try:
        while (run := _claim(database, reader, only)) is not None:
            done.append(run)
            _read_claimed(database, run, partial(report, run))
            uploads.remove_unused(database, home)
    finally:
        _release(database, reader)
    return done


def restart(database: Database, run: int) -> bool:
    """Let the stopped intake of ``run`` be read on in the background; return whether it is such a one."""
    with database.transaction() as session:
        row = session.get(Intake, run)
        if row is None or not row.background or row.state is not IntakeState.STOPPED:
            return False
        stopped, reading = IntakeState.STOPPED, IntakeState.READING
        now = database.now(session)
        values: dict[str, Any] = {"error": None, "attempts": 0, "leased_until": now}
        transition(session, run, stopped, reading, now=now, why="read on", **values)
        return True


def _claim(database: Database, reader: str, only: int | None) -> int | None:
    """Lease an intake that waits, and whose files are here, to ``reader``; None: there is none."""
    with database.transaction() as session:
        now = database.now(session)
        values = {"reader": reader, "leased_until": now + LEASE, "attempts": Intake.attempts + 1}
        for run in list(waiting_here(session, now)):
            if only is not None and run != only:
                continue
            claimed = update(Intake).where(Intake.id == run, *free(now)).values(**values)
            if session.execute(claimed.returning(Intake.id)).first() is not None:
                return run
    return None


def _read_claimed(database: Database, run: int, report: Callable[[int], None]) -> None:
    with database.reading() as session:
        row, network = session.get_one(Intake, run), summary_of(session, run).network
        attempts, origin = row.attempts, origin_of(session, run)
        is_uploaded = row.source is not None
    try:
        if attempts > MAX_ATTEMPTS:
            raise AnnealqError(f"{origin.name}: its reader died {MAX_ATTEMPTS} times: send it in other files")
        takes: Takes = inputs(database, network)
        source = source_of(origin, takes(False), is_uploaded=is_uploaded)
        read_on(database, run, source, report)
    except StorageError:
        raise
    except StaleState:
        return  # another process has read on, or the run was cancelled
    except AnnealqError as error:
        _stop(database, run, reason(error))


def _stop(database: Database, run: int, why: str) -> None:
    try:
        stop_reading(database, run, why)
    except StaleState:
        return  # `read_on` has stopped it with the reason, or the run has ended


def _release(database: Database, reader: str) -> None:
    """Let others read on what ``reader`` has leased."""
    with database.transaction() as session:
        leased = update(Intake).where(Intake.reader == reader, Intake.state == IntakeState.READING)
        session.execute(leased.values(leased_until=database.now(session)))
