"""Alembic migrations, run by name from Python: no configuration file is needed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from schema.database import Database, refuse_newer

if TYPE_CHECKING:
    from alembic.config import Config


def upgrade(url: str, revision: str = "head") -> None:
    """Bring the database at ``url`` to ``revision``, from nothing or from any older one.

    Raises:
        DatabaseTooNew: it is newer than this code; nothing was changed.
        DatabaseUnavailable: it cannot be opened or reached.
    """
    from alembic import command

    database = Database(url)
    try:
        refuse_newer(database.name, database.revision())
    finally:
        database.dispose()
    command.upgrade(_config(url), revision)


def downgrade(url: str, revision: str) -> None:
    """Take the database back to ``revision`` (`base`: no tables). Rows of dropped tables are lost."""
    from alembic import command

    command.downgrade(_config(url), revision)


def check(url: str) -> None:
    """Compare the database with `schema.tables`; raises alembic's CommandError when they differ."""
    from alembic import command

    command.check(_config(url))


def _config(url: str) -> Config:
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    config.attributes["url"] = url
    return config
