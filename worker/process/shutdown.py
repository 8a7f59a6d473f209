"""Graceful shutdown: the processes of a pool poll this flag, and release their work within seconds.

Celery notifies the parent process only. One byte of memory, shared with its forks, notifies the children.
"""

from __future__ import annotations

import mmap
import threading
from collections.abc import Callable
from typing import TypeVar

from schema.errors import Deferred

T = TypeVar("T")

_flag = mmap.mmap(-1, 1)
_POLL_EVERY_S = 0.2


def request() -> None:
    """Request the shutdown of this worker; safe in a signal handler."""
    _flag[0] = 1


def requested() -> bool:
    """Return True once the shutdown of this worker was requested."""
    return _flag[0] != 0


def check() -> None:
    """Raise Deferred once shutdown is requested: another worker resumes the work."""
    if requested():
        raise Deferred("the worker was stopped")


def run_interruptible(call: Callable[[], T]) -> T:
    """Run ``call`` in a thread and return its result; raise Deferred as soon as shutdown is requested.

    A silent server may delay a request for a minute. After a shutdown the thread is abandoned, so ``call``
    must be safe to repeat.
    """
    returned: list[T] = []
    raised: list[BaseException] = []

    def run() -> None:
        try:
            returned.append(call())
        except BaseException as error:  # noqa: BLE001 - it is raised again in the calling thread
            raised.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    while thread.is_alive():
        check()
        thread.join(_POLL_EVERY_S)
    if raised:
        raise raised[0]
    return returned[0]
