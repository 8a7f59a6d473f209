"""Alembic migrations, run by name from Python: no configuration file is needed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from schema.database import Database, refuse_newer
from schema.database.transactions import mapping_driver_errors
from schema.errors import DatabaseUnavailable, ParameterError
from schema.tables.runs import REVISION

if TYPE_CHECKING:
    from alembic.config import Config


def upgrade(url: str, revision: str = "head") -> None:
    """Bring the database at ``url`` to ``revision``, from nothing or from any older one.

    Alembic is not imported for a database that is at the head already, as it takes half a second.

    Raises:
        DatabaseTooNew: it is newer than this code; nothing was changed.
        DatabaseUnavailable, DatabaseFull: it cannot be opened, reached or written.
    """
    database = Database(url)
    try:
        found = database.revision()
        refuse_newer(database.name, found)
        if (found, revision) == (REVISION, "head"):
            return
        from alembic import command

        _make_file(database)
        with mapping_driver_errors(database.name):
            command.upgrade(_config(url), revision)
    finally:
        database.dispose()


def _make_file(database: Database) -> None:
    """Create a SQLite file that only this user may read, whatever the umask; its log takes the file's mode.

    Raises:
        DatabaseUnavailable: it cannot be created there.
    """
    path = database.url.database
    if database.url.get_backend_name() != "sqlite" or not path or path == ":memory:":
        return
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    except OSError as error:
        raise DatabaseUnavailable(f"{database.name} cannot be created: {error.strerror}") from error


def downgrade(url: str, revision: str) -> None:
    """Take the database ``url`` back to ``revision`` (`base`: no tables). Rows of dropped tables are lost.

    Raises:
        ParameterError: there is no such revision, or the database is older than it; nothing was changed.
    """
    from alembic import command
    from alembic.script import ScriptDirectory
    from alembic.util import CommandError

    config = _config(url)
    try:
        command.downgrade(config, revision)
    except (CommandError, AssertionError):  # alembic asserts that a revision has a name
        names = sorted(each.revision for each in ScriptDirectory.from_config(config).walk_revisions())
        raise ParameterError(
            f"the database cannot be taken back to revision {revision!r}: choose `base`, or one of "
            f"{', '.join(names)} that is not newer than the database (`annealq db current`)"
        ) from None


def check(url: str) -> None:
    """Compare the database ``url`` with `schema.tables`; raise alembic's CommandError where they differ."""
    from alembic import command

    command.check(_config(url))


def _config(url: str) -> Config:
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    config.attributes["url"] = url
    return config
