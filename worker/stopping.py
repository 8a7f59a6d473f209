"""A worker that is asked to stop hands its work back within seconds: its processes look here whether it is.

Celery tells the parent only. One byte of memory, shared by the fork, tells its children.
"""

from __future__ import annotations

import mmap

from schema.errors import Parked

_flag = mmap.mmap(-1, 1)


def request() -> None:
    """Say that this worker stops; safe in a signal handler."""
    _flag[0] = 1


def forget() -> None:
    """As if nothing had been said: for a process that goes on."""
    _flag[0] = 0


def requested() -> bool:
    """Whether this worker stops."""
    return _flag[0] != 0


def check() -> None:
    """Raises Parked when this worker stops: the next one takes the work up."""
    if requested():
        raise Parked("the worker was stopped")
