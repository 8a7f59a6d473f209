"""Copies rows into frozen dataclasses, and writes many rows at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from functools import cache
from operator import itemgetter
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import Dialect, bindparam
from sqlalchemy.orm import DeclarativeBase, Session

if TYPE_CHECKING:
    from _typeshed import DataclassInstance
    from sqlalchemy.dialects import postgresql, sqlite

_Summary = TypeVar("_Summary", bound="DataclassInstance")


def copy_row(row: object, kind: type[_Summary], **values: Any) -> _Summary:
    """Return a ``kind`` with ``values``; its other fields are the attributes of ``row`` of the same names."""
    names = {field.name for field in fields(kind)} - values.keys()
    return kind(**{name: getattr(row, name) for name in names}, **values)


def insert_into(dialect: Dialect, kind: type[DeclarativeBase]) -> sqlite.Insert | postgresql.Insert:
    """Return an INSERT into the table of ``kind`` for ``dialect``, which can say what to do on a conflict.

    The other dialect is not imported: PostgreSQL's takes a twentieth of the time in which a command starts.
    """
    if dialect.name == "sqlite":
        from sqlalchemy.dialects import sqlite

        return sqlite.insert(kind)
    from sqlalchemy.dialects import postgresql

    return postgresql.insert(kind)


def upsert_plain(session: Session, kind: type[DeclarativeBase], rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert ``rows`` into the table of ``kind`` in ``session``, or replace those of the same primary key.

    Each of them has all columns, and their values are numbers, text, bytes and None, which the drivers take
    as they are: SQLAlchemy would spend more on each row than the database.
    """
    connection = session.connection()
    statement, order = _upsert_text(kind, connection.dialect)
    values = rows if order is None else list(map(itemgetter(*order), rows))
    connection.exec_driver_sql(statement, values)


@cache
def _upsert_text(kind: type[DeclarativeBase], dialect: Dialect) -> tuple[str, tuple[str, ...] | None]:
    """Return the statement of `upsert_plain` and the order of its parameters; None if they have names."""
    table: Any = kind.__table__
    statement = insert_into(dialect, kind).values({column.name: bindparam(column.name) for column in table.c})
    replaced = {column.name: statement.excluded[column.name] for column in table.c if not column.primary_key}
    upsert = statement.on_conflict_do_update(index_elements=list(table.primary_key), set_=replaced)
    compiled: Any = upsert.compile(dialect=dialect)
    return str(compiled), None if compiled.positiontup is None else tuple(compiled.positiontup)
