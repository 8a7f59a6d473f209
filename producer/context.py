"""What a command works with: settings, database, and where wanted the embedded stack around it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from schema.database import Database
from schema.settings import Settings, load


@dataclass(frozen=True)
class AppContext:
    """An open database and a broker that answers; ``check`` raises when an embedded stack has broken down."""

    settings: Settings
    database: Database
    check: Callable[[], None] = lambda: None


@contextmanager
def database(settings: Settings | None = None) -> Iterator[Database]:
    """The database alone, at the revision of this code.

    Raises:
        DatabaseOutdated, DatabaseTooNew, DatabaseUnavailable.
    """
    opened = Database((settings or load()).database_url)
    try:
        opened.require_current()
        yield opened
    finally:
        opened.dispose()
