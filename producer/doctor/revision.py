"""Tables and columns of a database against those of this code."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import inspect

from producer.doctor.finding import BACKUP, Finding
from schema.database import Database
from schema.errors import DatabaseOutdated, DatabaseTooNew
from schema.tables import Base

REVISION = "revision"


def revision(database: Database) -> Iterator[Finding]:
    """The revision is that of this code, and every table and column is there.

    Raises:
        DatabaseUnavailable, Corrupt: the database cannot be read at all.
    """
    try:
        database.require_current()
    except (DatabaseOutdated, DatabaseTooNew) as error:
        what, _, hint = str(error).partition(": ")
        yield Finding(REVISION, "alembic_version", None, what, hint)
        return
    with database.reading() as session:
        there = inspect(session.connection())
        held = {
            name: {column["name"] for column in there.get_columns(name)} for name in there.get_table_names()
        }
    for name, table in sorted(Base.metadata.tables.items()):
        if name not in held:
            yield Finding(REVISION, name, None, "the table is missing", BACKUP)
            continue
        for column in sorted(set(table.columns.keys()) - held[name]):
            yield Finding(REVISION, name, None, f"its column {column} is missing", BACKUP)
