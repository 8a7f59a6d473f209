"""Bytes that all requests of a process may have in memory at a time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from schema.errors import RequestRefused

_RETRY_AFTER_S = 5

Take = Callable[[int], None]
"""Takes bytes of a budget for the length of a block; raises RequestRefused (413, 503)."""


class MemoryBudget:
    """At most ``total`` bytes at a time; safe for use by several threads."""

    def __init__(self, what: str, total: int) -> None:
        """Prepare a budget for ``what``, the word of the message when it is spent."""
        self.what, self.total = what, total
        self._lock = threading.Lock()
        self._used = 0

    @property
    def used(self) -> int:
        """Return the bytes that are taken now."""
        return self._used

    def take(self, count: int) -> None:
        """Take ``count`` bytes until `give`.

        Raises:
            RequestRefused: 413, there will never be as many; 503, too few are left now.
        """
        if count > self.total:
            raise RequestRefused(
                f"the {self.what} of this request need {count / 1e6:,.0f} MB of memory, and the server has "
                f"{self.total / 1e6:,.0f} MB for all requests",
                413,
                "send fewer or smaller images in each run; the operator sets ANNEALQ_API_MEMORY_MB",
            )
        with self._lock:
            if self._used + count <= self.total:
                self._used += count
                return
        raise RequestRefused(
            f"the server has no memory left for more {self.what}",
            503,
            f"try again in {_RETRY_AFTER_S} s",
            retry_after_s=_RETRY_AFTER_S,
        )

    def give(self, count: int) -> None:
        """Give ``count`` bytes back."""
        with self._lock:
            self._used -= count

    @contextmanager
    def account(self) -> Iterator[Take]:
        """Yield a function that takes bytes until the block ends."""
        held = 0

        def take(count: int) -> None:
            nonlocal held
            self.take(count)
            held += count

        try:
            yield take
        finally:
            self.give(held)
