"""Checks tables and columns of a database against those of this code."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import inspect

from producer.doctor.finding import BACKUP, Finding
from schema.database import Database
from schema.errors import DatabaseOutdated, DatabaseTooNew
from schema.tables import Base

REVISION = "revision"


def revision(database: Database) -> Iterator[Finding]:
    """Check that ``database`` has the revision of this code, and every table and column.

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
        inspector = inspect(session.connection())
        tables = inspector.get_table_names()
        columns = {name: {column["name"] for column in inspector.get_columns(name)} for name in tables}
    for name, table in sorted(Base.metadata.tables.items()):
        if name not in columns:
            yield Finding(REVISION, name, None, "the table is missing", BACKUP)
            continue
        for column in sorted(set(table.columns.keys()) - columns[name]):
            yield Finding(REVISION, name, None, f"the column {column} is missing", BACKUP)
