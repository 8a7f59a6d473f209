"""Wrong keys: each is logged, and an address that sends many of them is told to wait.

Only requests with a wrong key wait. A valid key is accepted from every address at any time, so that nobody
can lock another one out.
"""

from __future__ import annotations

import ipaddress
import logging
import re
import threading
import time
from collections.abc import Callable
from math import ceil

from cachetools import LRUCache

from schema.errors import RequestRefused

LIMIT = 20  # wrong keys of one address in a window
WINDOW_S = 60.0
_MAX_ADDRESSES = 10_000
_PREFIX = re.compile(r"aq_[0-9a-f]{8}(?=_)")
_LOG = logging.getLogger("annealq.api")


class FailedLogins:
    """Counts wrong keys by address; safe for use by several threads. ``clock`` is for tests."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._lock = clock, threading.Lock()
        # The start of the window and the number of wrong keys in it, by address.
        self._counts: LRUCache[str, tuple[float, int]] = LRUCache(_MAX_ADDRESSES)

    def count(self, key: str, address: str | None) -> None:
        """Log and count the wrong ``key`` from ``address``; the log never has more of it than its prefix.

        Raises:
            RequestRefused: 429, the address has sent too many wrong keys.
        """
        group, now = group_of(address), self._clock()
        with self._lock:
            since, count = self._counts.get(group, (now, 0))
            if now - since >= WINDOW_S:
                since, count = now, 0
            count += 1
            self._counts[group] = since, count
        if count <= LIMIT:
            match = _PREFIX.match(key)
            what = "a malformed key" if match is None else f"key {match[0]}_..."
            more = f"; further ones within {WINDOW_S:.0f} s are not logged" if count == LIMIT else ""
            _LOG.warning("failed login: %s from %s is not valid%s", what, address, more)
            return
        wait_s = max(since + WINDOW_S - now, 1.0)
        raise RequestRefused(
            f"{LIMIT} wrong API keys came from this address within {WINDOW_S:.0f} s",
            429,
            f"send a valid key, which is accepted at any time, or wait {ceil(wait_s)} s",
            retry_after_s=wait_s,
        )


def group_of(address: str | None) -> str:
    """Return what one sender is counted as: an IPv4 ``address``, or the 64 bits of an IPv6 network."""
    try:
        parsed = ipaddress.ip_address(address or "")
    except ValueError:
        return address or "unknown"
    if isinstance(parsed, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((parsed, 64), strict=False))
    return str(parsed)
