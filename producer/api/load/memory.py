"""Bytes that all requests of a process may have in memory at a time."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from schema.errors import RequestRefused

_RETRY_AFTER_S = 5


class MemoryBudget:
    """At most ``total`` bytes at a time, and at most ``waiting`` requests that wait.

    Use it in one event loop.
    """

    def __init__(self, what: str, total: int, waiting: int = 0) -> None:
        """Prepare a budget for ``what``, the word of the message when it is spent."""
        self.what, self.total, self.waiting = what, total, waiting
        self.used = 0  # bytes
        self._queue: deque[tuple[int, asyncio.Future[None]]] = deque()

    def take(self, count: int) -> None:
        """Take ``count`` bytes until `give`; raise RequestRefused (503) if too few are left."""
        if self.used + count > self.total or self._queue:
            raise self._spent()
        self.used += count

    def give(self, count: int) -> None:
        """Give ``count`` bytes back; those who wait get them in their order."""
        self.used -= count
        while self._queue and self.used + self._queue[0][0] <= self.total:
            wanted, turn = self._queue.popleft()
            if not turn.done():
                self.used += wanted
                turn.set_result(None)

    @asynccontextmanager
    async def reserve(self, count: int) -> AsyncIterator[None]:
        """Hold ``count`` bytes for the length of the block, once they are there.

        Raises:
            RequestRefused: 413, there will never be as many; 503, too many others wait.
        """
        if count > self.total:
            raise RequestRefused(
                f"{self.what} of this request need {count / 1e6:,.0f} MB of memory, more than the server's "
                f"{self.total / 1e6:,.0f} MB",
                413,
                "send fewer or smaller images in each run; the operator sets ANNEALQ_API_MEMORY_MB",
            )
        if self._queue or self.used + count > self.total:
            await self._turn(count)
        else:
            self.used += count
        try:
            yield
        finally:
            self.give(count)

    async def _turn(self, count: int) -> None:
        if len(self._queue) >= self.waiting:
            raise self._spent()
        turn = asyncio.get_running_loop().create_future()
        self._queue.append((count, turn))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.give(count)
            turn.cancel()
            raise

    def _spent(self) -> RequestRefused:
        return RequestRefused(
            f"the server has no memory left for more {self.what}",
            503,
            f"try again in {_RETRY_AFTER_S} s",
            retry_after_s=_RETRY_AFTER_S,
        )
