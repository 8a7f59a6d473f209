"""A worker that is asked to stop hands its work back within seconds: its processes look here whether it is.

Celery tells the parent only. One byte of memory, shared by the fork, tells its children.
"""

from __future__ import annotations

import mmap
import threading
from collections.abc import Callable
from typing import TypeVar

from schema.errors import Deferred

T = TypeVar("T")

_flag = mmap.mmap(-1, 1)
_LOOKS_EVERY_S = 0.2


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
    """Raises Deferred when this worker stops: the next one takes the work up."""
    if requested():
        raise Deferred("the worker was stopped")


def run_interruptible(ask: Callable[[], T]) -> T:
    """What ``ask`` returns or raises; Deferred as soon as this worker stops, however long it goes on.

    For requests that a silent server may keep for a minute. They run in a thread that is left behind then:
    ask only what may be asked again.
    """
    returned: list[T] = []
    raised: list[BaseException] = []

    def work() -> None:
        try:
            returned.append(ask())
        except BaseException as error:  # noqa: BLE001 - it is raised again, where it is waited for
            raised.append(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    while thread.is_alive():
        check()
        thread.join(_LOOKS_EVERY_S)
    if raised:
        raise raised[0]
    return returned[0]
