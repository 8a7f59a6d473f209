"""Settings, database and local stack of a producer."""

from __future__ import annotations

import getpass
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ParamSpec, Protocol, TypeVar

from schema.database import Database, act_as
from schema.settings import Settings, load

_MAX_ACTOR = 128

P = ParamSpec("P")
T = TypeVar("T")


class RunInThread(Protocol):
    """Calls a function in a thread, from an event loop; it may raise RequestRefused (503)."""

    async def __call__(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T: ...


@dataclass(frozen=True)
class AppContext:
    """An open database, and the settings of its broker.

    Attributes:
        check: raises if a local stack has broken down.
        starts_workers: the workers are children of this process, and have its settings and tokens.
    """

    settings: Settings
    database: Database
    check: Callable[[], None] = lambda: None
    starts_workers: bool = False


@contextmanager
def database(settings: Settings | None = None) -> Iterator[Database]:
    """Open the database of ``settings``, by default those of this process, and check its revision.

    What happens there is recorded as done by the user of this process.

    Raises:
        DatabaseOutdated, DatabaseTooNew, DatabaseUnavailable.
    """
    opened = Database((settings or load()).database_url)
    try:
        opened.require_current()
        with act_as(actor=user()):
            yield opened
    finally:
        opened.dispose()


def user() -> str:
    """Return who runs this process, as USER@HOST."""
    try:
        name = getpass.getuser()
    except (OSError, KeyError):  # the user has no name in a container
        name = f"uid-{os.getuid()}"
    return f"{name}@{socket.gethostname()}"[:_MAX_ACTOR]
