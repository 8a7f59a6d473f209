"""The disk of a home folder while a stack runs on it: work waits while it is full."""

from __future__ import annotations

import time
from pathlib import Path

from schema.database.disk import is_full

_EVERY_S = 1.0


class Disk:
    """Looks at the disk of a home folder now and then; used by one thread."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self.looked_at = float("-inf")
        self.is_full = False

    def news(self) -> str | None:
        """Return a line for people when the disk has become full, or has space again; else None."""
        if time.monotonic() - self.looked_at < _EVERY_S:
            return None
        self.looked_at = time.monotonic()
        was_full, self.is_full = self.is_full, is_full(self._home)
        if self.is_full == was_full:
            return None
        if self.is_full:
            return f"no space left for the home folder {self._home}: free some; work waits until then"
        return f"the home folder {self._home} has space again: work continues"
