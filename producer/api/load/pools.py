"""Separate pools of threads, each with a bounded queue: a full one refuses, and the others continue."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import ParamSpec, TypeVar

import anyio.to_thread

from schema.errors import RequestRefused

P = ParamSpec("P")
T = TypeVar("T")

_RETRY_AFTER_S = 2


class Pool:
    """At most ``threads`` calls at a time, and at most ``waiting`` that wait. Use it in one event loop."""

    def __init__(self, what: str, threads: int, waiting: int) -> None:
        """Prepare a pool for ``what``, the words of the message when it is full."""
        self.what, self.threads, self.waiting = what, threads, waiting
        self._limiter = anyio.CapacityLimiter(threads)
        self.calls = 0  # running and waiting
        self.refusals = 0  # so far

    async def run(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Return what ``function`` returns in a thread of this pool.

        Raises:
            RequestRefused: 503, too many calls are running and waiting.
        """
        if self.calls >= self.threads + self.waiting:
            self.refusals += 1
            raise RequestRefused(
                f"the server has too much to do: {self.threads} {self.what} are running, {self.waiting} wait",
                503,
                f"try again in {_RETRY_AFTER_S} s",
                retry_after_s=_RETRY_AFTER_S,
            )
        self.calls += 1
        try:
            return await anyio.to_thread.run_sync(partial(function, *args, **kwargs), limiter=self._limiter)
        finally:
            self.calls -= 1


class Pools:
    """The pools of one process; ``reads`` is the number of threads for queries of the API."""

    def __init__(self, reads: int) -> None:
        self.keys = Pool("checks of keys", 2, 500)
        self.reads = Pool("queries", reads, 200)
        self.live = Pool("queries of progress", 2, 10)  # a few loops, each of which waits for its own
        self.writes = Pool("changes", 4, 60)
        self.pages = Pool("pages", 2, 60)
        self.programs = Pool("charts and reports", 2, 10)
        self.health = Pool("checks", 1, 2)
        self.webhooks = Pool("webhooks", 2, 100)

    @property
    def threads(self) -> int:
        """Return how many threads all pools have, each of which may need a connection to the database."""
        return sum(pool.threads for pool in vars(self).values())
