"""When keys and sessions were used last, written in the background at most once a minute.

A thread writes it, so that a database that is busy or away delays no request.
"""

from __future__ import annotations

import logging
import threading

from sqlalchemy import update

from schema.database import Database
from schema.errors import StorageError
from schema.tables.api import ApiKey, PageSession

_EVERY_S = 60.0
_JOIN_S = 2.0
_LOG = logging.getLogger("annealq.api")


class LastUse:
    """A thread that writes the uses of keys and sessions to ``database``; safe for use by several threads."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._keys: set[int] = set()
        self._sessions: set[int] = set()
        self._used, self._closed = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="last-use", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def note(self, *, key: int | None = None, session: int | None = None) -> None:
        """Note a use of the ``key`` or the page ``session`` of these ids; return at once."""
        with self._lock:
            if key is not None:
                self._keys.add(key)
            if session is not None:
                self._sessions.add(session)
        self._used.set()

    def close(self) -> None:
        """Write what was noted, and stop the thread."""
        self._closed.set()
        self._used.set()
        self._thread.join(_JOIN_S)

    def _run(self) -> None:
        while not self._closed.is_set():
            self._used.wait()
            self._used.clear()
            self.write()
            self._closed.wait(_EVERY_S)
        self.write()

    def write(self) -> None:
        """Write what was noted. An error is logged: requests do not depend on it."""
        with self._lock:
            keys, sessions = self._keys, self._sessions
            self._keys, self._sessions = set(), set()
        if not keys and not sessions:
            return
        try:
            with self._database.transaction() as session:
                now = self._database.now(session)
                session.execute(update(ApiKey).where(ApiKey.id.in_(keys)).values(last_used_at=now))
                seen = update(PageSession).where(PageSession.id.in_(sessions)).values(last_seen_at=now)
                session.execute(seen)
        except StorageError as error:
            _LOG.warning("the last use of keys is not stored: %s", error)
