"""Copies a SQLite database to a file while it is in use."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from sqlalchemy import text

from schema.database.transactions import Database
from schema.errors import DatabaseOutdated, DiskFull, ParameterError, StorageError

_PAGES = 1024  # copied at a time, of 4 KiB: Ctrl-C and progress wait no longer


def back_up(database: Database, target: Path, start: Callable[[int], Callable[[int], None]]) -> None:
    """Copy the SQLite ``database`` to the file ``target``, as it is at one moment.

    One transaction reads all of it, so that writers neither wait nor change the copy. Without it SQLite
    begins again after each write of another process, and may never end (sqlite.org/backup.html).

    Args:
        target: an empty file, which only its owner may read.
        start: gets the size in MiB, and returns the function that gets the MiB of each copied part.

    Raises:
        ParameterError: it is a PostgreSQL database.
        DatabaseOutdated: it is empty.
        DiskFull, StorageError: ``target`` cannot be written, or the database cannot be read.
    """
    if database.url.get_backend_name() != "sqlite":
        raise ParameterError(
            f"{database.name} is copied by PostgreSQL's own tool: pg_dump --format=custom --file=FILE URL"
        )
    if database.revision() is None:
        raise DatabaseOutdated(f"{database.name} is empty: there is nothing to copy")
    driver: Any = database.engine.dialect.dbapi
    with database.reading() as session:
        session.execute(text("SELECT version_num FROM alembic_version"))  # the moment of the copy
        pages = session.execute(text("PRAGMA page_count")).scalar_one()
        page_bytes = session.execute(text("PRAGMA page_size")).scalar_one()
        on_progress, copied = start(pages * page_bytes >> 20), 0

        def report(_status: int, left: int, pages: int) -> None:
            nonlocal copied
            done = (pages - left) * page_bytes >> 20
            on_progress(done - copied)
            copied = done

        try:
            copy = driver.connect(str(target))
            try:
                copy.execute("PRAGMA synchronous = OFF")  # the file is synchronised once it is complete
                source: Any = session.connection().connection.driver_connection
                source.backup(copy, pages=_PAGES, progress=report)
            finally:
                copy.close()
        except driver.Error as error:
            if "full" in str(error):
                raise DiskFull(f"disk full: {target.parent}: free some and try again") from error
            raise StorageError(f"{database.name} cannot be copied to {target}: {error}") from error
