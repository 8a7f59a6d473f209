"""Lists the QPUs of a service: which are online, and how busy they are."""

from __future__ import annotations

import time
from typing import Any

from worker.sapi.choice import list_all
from worker.sapi.client import Access, connect

_AGE_S = 30.0  # D-Wave's service states the load of a solver anew about as often


class SolverDirectory:
    """The QPUs of one service. Create it after the fork, use it from one thread, and close it."""

    def __init__(self, access: Access, most_s: float) -> None:
        """Reach the service by ``access``; what is older than 30 s or ``most_s`` seconds is read again.

        Raises:
            Refused: there is no token or endpoint.
        """
        self._client = connect(access)
        self._age_s = min(_AGE_S, most_s)
        self._solvers: list[Any] = []
        self._read_at = float("-inf")

    def solvers(self) -> list[Any]:
        """Return all annealers of the service, as D-Wave's client has them; raise Unavailable."""
        if time.monotonic() - self._read_at > self._age_s:
            self._solvers = list_all(self._client, refresh=True)
            self._read_at = time.monotonic()
        return self._solvers

    def close(self) -> None:
        """Close the connection."""
        self._client.close(wait=False)
