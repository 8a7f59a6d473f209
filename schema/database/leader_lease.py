"""Leader election: of several processes with one role, the holder of a lease works; the others wait."""

from __future__ import annotations

import os
import socket
import threading
import uuid
from collections.abc import Callable
from datetime import datetime, timedelta

from sqlalchemy import delete, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from schema.database.transactions import Database
from schema.errors import StorageError
from schema.tables.processes import Leader

RECONCILER = "reconciler"  # the role of the process that health checks ask for


def run_while_leading(
    database: Database,
    role: str,
    task: Callable[[Callable[[], bool]], None],
    stop: threading.Event,
    *,
    lease_s: float,
    every_s: float,
    on_outage: Callable[[StorageError], None],
) -> None:
    """Call ``task`` every ``every_s`` seconds until ``stop`` is set, whenever this process leads ``role``.

    An outage of ``database`` is waited for.

    Args:
        task: gets a function that renews the lease and returns whether this process still leads.
        lease_s: seconds after which another process takes over from one that does not renew its lease.
        on_outage: reports an outage; called once for each, with its first error.
    """
    holder = process_name()

    def leads() -> bool:
        with database.transaction() as session:
            return lead(session, role, holder, now=database.now(session), lease_s=lease_s)

    reachable = True
    while not stop.is_set():
        try:
            if leads():
                task(leads)
            reachable = True
        except StorageError as error:
            if reachable:
                on_outage(error)
            reachable = False
        stop.wait(every_s)


def process_name() -> str:
    """Return a new name for this process that no other process has: host, process id, random digits."""
    return f"{socket.gethostname()[:100]}:{os.getpid()}:{uuid.uuid4().hex[:8]}"


def lead(session: Session, role: str, holder: str, *, now: datetime, lease_s: float) -> bool:
    """Take or renew the lease of ``role`` for ``holder``; return False while another holder's is valid.

    The lease is valid for ``lease_s`` seconds from ``now``.
    """
    until = now + timedelta(seconds=lease_s)
    free = or_(Leader.holder == holder, Leader.until < now)
    taken = session.execute(
        update(Leader)
        .where(Leader.role == role, free)
        .values(holder=holder, until=until)
        .returning(Leader.role)
    ).first()
    if taken is not None:
        return True
    if session.execute(select(Leader.role).where(Leader.role == role)).first() is not None:
        return False
    try:
        with session.begin_nested():
            session.add(Leader(role=role, holder=holder, until=until))
            session.flush()
    except IntegrityError:
        return False
    return True


def release(session: Session, role: str, holder: str) -> None:
    """End the lease of ``role`` in ``session``, if ``holder`` has it, for others to begin at once."""
    session.execute(delete(Leader).where(Leader.role == role, Leader.holder == holder))
