"""Settings, database and local stack of a producer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from schema.database import Database
from schema.settings import Settings, load


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

    Raises:
        DatabaseOutdated, DatabaseTooNew, DatabaseUnavailable.
    """
    opened = Database((settings or load()).database_url)
    try:
        opened.require_current()
        yield opened
    finally:
        opened.dispose()
