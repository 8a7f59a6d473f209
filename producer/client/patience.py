"""Decides whether a request that failed is sent again, and when: with back-off and jitter, for minutes."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

_FIRST_S = 0.2
_LEAST_S = 0.001  # that is left of the time, for another try
_LONGEST_S = 5.0  # a server that has restarted is found within seconds


class Patience:
    """Counts the consecutive failures of one request.

    Args:
        limit_s: seconds from the first failure, after which the request is given up; 0: at once.
        clock: seconds of a clock that never goes back.
        jitter: returns random numbers in [0, 1), so that many clients do not return at one moment.

    >>> patience = Patience(10, clock=lambda: 0.0, jitter=lambda: 1.0)
    >>> [patience.next_pause_s() for _ in range(4)]
    [0.2, 0.4, 0.8, 1.6]
    >>> patience.next_pause_s(retry_after_s=3600) is None
    True
    """

    def __init__(
        self,
        limit_s: float,
        *,
        clock: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._limit_s, self._clock, self._jitter = limit_s, clock, jitter
        self._failures = 0
        self._since = 0.0

    def renew(self) -> None:
        """Forget all failures, because the server has answered."""
        self._failures = 0

    def left_s(self) -> float:
        """Return the seconds for which the request is still repeated."""
        return self._limit_s - (self._clock() - self._since if self._failures else 0.0)

    def next_pause_s(self, retry_after_s: float | None = None) -> float | None:
        """Count a failure; return the seconds to wait before the next try, or None to give up.

        Args:
            retry_after_s: the least number of seconds that the server asks for.
        """
        if not self._failures:
            self._since = self._clock()
        self._failures += 1
        longest_s: float = min(_FIRST_S * 2 ** min(self._failures - 1, 20), _LONGEST_S)
        pause_s = longest_s * (1 + self._jitter()) / 2
        left_s = self.left_s()
        if left_s < _LEAST_S or (retry_after_s or 0.0) > left_s:
            return None
        if retry_after_s is not None and retry_after_s > pause_s:
            return retry_after_s + pause_s
        return min(pause_s, left_s)
