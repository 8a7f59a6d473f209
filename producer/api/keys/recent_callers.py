"""Whose key it is, remembered for a second: so long may a key be used after it was revoked."""

from __future__ import annotations

import hashlib
import time

from producer.api.keys.keys import Caller

_FRESH_S = 1.0
_MOST = 10_000


class Admitted:
    """Callers by the hash of their key; use it in one event loop or thread at a time."""

    def __init__(self) -> None:
        self._held: dict[bytes, tuple[float, Caller]] = {}

    def find(self, key: str | None) -> Caller | None:
        """Who showed this key (None: nobody, where no key is needed) within the last second."""
        until, caller = self._held.get(_hash(key), (0.0, None))
        return caller if time.monotonic() < until else None

    def keep(self, key: str | None, caller: Caller) -> None:
        if len(self._held) >= _MOST:
            self._held.clear()
        self._held[_hash(key)] = time.monotonic() + _FRESH_S, caller


def _hash(key: str | None) -> bytes:
    return b"" if key is None else hashlib.sha256(key.encode()).digest()
