"""What this process works on: for its log lines, and for its row in the table of workers."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

from structlog.contextvars import bind_contextvars, clear_contextvars


@dataclass(frozen=True)
class Activity:
    """A task that this process works on, since ``started`` on its monotonic clock, in seconds."""

    task: str
    started: float
    run: int | None = None
    batch: int | None = None


_current: Activity | None = None


def current() -> Activity | None:
    """Return what this process works on; None: it waits."""
    return _current


def start(task: str, **rows: int) -> None:
    """Note that a ``task`` begins that concerns these ``rows``, each by what it is: batch, run, network ...

    Log lines have them until the next task begins, so that Celery's own line at the end has them, too.
    """
    global _current  # noqa: PLW0603 - a process does one task at a time
    clear_contextvars()
    _current = Activity(task, time.monotonic())
    concern(**rows)


def concern(**rows: int) -> None:
    """Note that the task concerns these ``rows``, as `start` does."""
    global _current  # noqa: PLW0603
    bind_contextvars(**rows)
    if _current is not None:
        run, batch = rows.get("run", _current.run), rows.get("batch", _current.batch)
        _current = replace(_current, run=run, batch=batch)


def end() -> None:
    """Note that the task has ended."""
    global _current  # noqa: PLW0603
    _current = None
