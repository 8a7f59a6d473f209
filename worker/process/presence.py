"""Tells others that this process is alive, and what it does: its row in the table of workers.

A thread writes the row every few seconds, so that a task costs nothing more.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from importlib.metadata import version
from typing import Any

import structlog
from sqlalchemy import delete, update
from sqlalchemy.orm import Session

from schema.database import Database, process_name
from schema.errors import StorageError
from schema.tables import Worker
from schema.tables.processes import BEAT_S
from worker.process import activity

_KEPT = timedelta(hours=1)  # rows of workers that are gone, for those who ask what became of them
_STOP_S = 2.0  # longest wait for a database that does not answer while the worker stops

log = structlog.get_logger()


class Presence:
    """The row of this process. Create it after the fork."""

    def __init__(
        self, database: Database, accounts: Callable[[], Mapping[str, str]], every_s: float = BEAT_S
    ) -> None:
        """Begin to write the row into ``database``, from a thread of its own.

        Args:
            accounts: returns the account of each solver with qubits, empty where it has no token.
            every_s: pause between signs of life.
        """
        self._database = database
        self._accounts = accounts
        self._every_s = every_s
        self._name = process_name()
        self._began = time.monotonic()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="presence", daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Write that this process has stopped, unless the database does not answer."""
        self._stop.set()
        self._thread.join(_STOP_S)

    def _beat(self) -> None:
        reachable = True
        while True:
            is_last = self._stop.is_set()
            try:
                self._write(stopped=is_last)
                reachable = True
            except StorageError as error:
                if reachable:  # once for each outage
                    log.warning("presence not written", error=str(error))
                reachable = False
            if is_last:
                return
            self._stop.wait(self._every_s)

    def _write(self, *, stopped: bool) -> None:
        with self._database.transaction() as session:
            now = self._database.now(session)
            values = self._values(now, stopped=stopped)
            row = update(Worker).where(Worker.name == self._name).values(values).returning(Worker.name)
            if session.execute(row).first() is None:  # the first time, or it was silent for long
                session.add(Worker(name=self._name, **self._constants(now), **values))

    def _values(self, now: datetime, *, stopped: bool) -> dict[str, Any]:
        doing = activity.current()
        since = None if doing is None else now - timedelta(seconds=time.monotonic() - doing.started)
        return {
            "accounts": dict(self._accounts()),
            "task": None if doing is None else doing.task,
            "run_id": None if doing is None else doing.run,
            "batch_id": None if doing is None else doing.batch,
            "task_since": since,
            "seen_at": now,
            "stopped_at": now if stopped else None,
        }

    def _constants(self, now: datetime) -> dict[str, Any]:
        return {
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "version": version("annealq"),
            "started_at": now - timedelta(seconds=time.monotonic() - self._began),
        }


def remove_gone(session: Session, *, now: datetime) -> None:
    """Remove the rows in ``session`` of workers that were last seen an hour before ``now``."""
    session.execute(delete(Worker).where(Worker.seen_at < now - _KEPT))
