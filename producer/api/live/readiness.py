"""Whether the database and the broker can be used, checked at most once a second for all who ask."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping

from producer.api.load.pools import Pool
from producer.stack import broker
from schema.database import Database
from schema.errors import BrokerUnavailable, DatabaseOutdated, DatabaseTooNew, ParameterError, StorageError

READY = "ready"
_FRESH_S = 1.0


class ReadinessCheck:
    """State of ``database`` and of the broker at ``broker_url``, checked in ``pool``.

    Use it in one event loop. Requests that arrive during a check wait for it, and need no thread.
    """

    def __init__(self, database: Database, broker_url: str, pool: Pool) -> None:
        self._database, self._broker_url, self._pool = database, broker_url, pool
        self._check: asyncio.Task[Mapping[str, str]] | None = None
        self._checked_at = 0.0

    async def parts(self) -> Mapping[str, str]:
        """Return "ready" or what is wrong, by part."""
        if self._check is None or (self._check.done() and time.monotonic() - self._checked_at > _FRESH_S):
            self._check = asyncio.create_task(self._run())
        return await asyncio.shield(self._check)

    async def _run(self) -> Mapping[str, str]:
        try:
            return await self._pool.run(self._parts)
        finally:
            self._checked_at = time.monotonic()

    def _parts(self) -> Mapping[str, str]:
        return {"database": self._database_state(), "broker": self._broker_state()}

    def _database_state(self) -> str:
        try:
            self._database.require_current()
        except DatabaseOutdated:
            return "older than this annealq"
        except DatabaseTooNew:
            return "newer than this annealq"
        except StorageError:
            return "away"
        return READY

    def _broker_state(self) -> str:
        try:
            broker.check(self._broker_url)
        except (BrokerUnavailable, ParameterError):
            return "away"
        return READY
