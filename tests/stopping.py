"""A worker's shutdown that a test can undo."""

from __future__ import annotations

from worker.process import shutdown


def clear_shutdown() -> None:
    shutdown._flag[0] = 0
