"""The shape and type of images, which may be coloured or vectors, in place of height and width."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

from schema.errors import StorageError

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

_TABLES = ("networks", "training_sets", "batches")
_CHECKED = ("training_sets", "batches")  # the sizes of their rows are checked
_BEFORE = "count > 0 AND height > 0 AND width > 0"
_AFTER = "count > 0"


def upgrade() -> None:
    _check_sizes(_BEFORE, _AFTER)
    _add(("shape", sa.String(length=32), ""), ("dtype", sa.String(length=16), "uint8"))
    for table in _TABLES:
        op.execute(f"UPDATE {table} SET shape = height || 'x' || width, dtype = 'uint8'")  # noqa: S608
    _finish(("shape", "''"), ("dtype", "'uint8'"))
    _drop("height", "width")


def downgrade() -> None:
    _refuse_others()
    _add(("height", sa.Integer(), "0"), ("width", sa.Integer(), "0"))
    at = "instr(shape, 'x')" if _is_sqlite() else "position('x' in shape)"
    for table in _TABLES:
        op.execute(
            f"UPDATE {table} SET height = CAST(substr(shape, 1, {at} - 1) AS INTEGER), "  # noqa: S608
            f"width = CAST(substr(shape, {at} + 1) AS INTEGER)"
        )
    _finish(("height", "'0'"), ("width", "'0'"))
    _drop("shape", "dtype")
    _check_sizes(_AFTER, _BEFORE)


def _is_sqlite() -> bool:
    return op.get_bind().dialect.name == "sqlite"


def _add(*columns: tuple[str, sa.types.TypeEngine[Any], str]) -> None:
    """Add columns with a value that rows have until theirs is known."""
    for table in _TABLES:
        for name, kind, value in columns:
            op.add_column(table, sa.Column(name, kind, nullable=False, server_default=value))


def _finish(*columns: tuple[str, str]) -> None:
    """Take the value that rows had at first from columns: a new row must state its own."""
    for table in _TABLES:
        for name, value in columns:
            if _is_sqlite():
                _edit(table, f"DEFAULT {value} NOT NULL", "NOT NULL")
            else:
                op.alter_column(table, name, server_default=None)
    _read_again()


def _drop(*columns: str) -> None:
    for table in _TABLES:
        for name in columns:
            op.execute(f"ALTER TABLE {table} DROP COLUMN {name}")


def _check_sizes(before: str, after: str) -> None:
    for table in _CHECKED:
        if _is_sqlite():
            _edit(table, f"CHECK ({before})", f"CHECK ({after})")
        else:
            name = f"ck_{table}_sizes_positive"
            op.drop_constraint(op.f(name), table)
            op.create_check_constraint(op.f(name), table, after)
    _read_again()


def _edit(table: str, before: str, after: str) -> None:
    """Change a constraint in the definition of a table of SQLite, which cannot alter one.

    The way is that of sqlite.org/lang_altertable.html, section 7, for changes that leave stored rows alone.
    To copy the table aside instead would copy all training images, and delete what refers to its rows.
    """
    op.execute("PRAGMA writable_schema = ON")
    op.execute(
        sa.text(
            "UPDATE sqlite_master SET sql = replace(sql, :before, :after) "
            "WHERE type = 'table' AND name = :table"
        ).bindparams(before=before, after=after, table=table)
    )


def _read_again() -> None:
    if _is_sqlite():
        op.execute("PRAGMA writable_schema = RESET")


def _refuse_others() -> None:
    others_of = dict.fromkeys(_TABLES, "dtype <> 'uint8' OR shape LIKE '%x%x%'")
    others_of["networks"] += """ OR CAST(architecture AS TEXT) LIKE '%"resize"%'"""
    for table, are_others in others_of.items():
        query = f"SELECT count(*) FROM {table} WHERE {are_others}"  # noqa: S608
        if others := op.get_bind().execute(sa.text(query)).scalar():
            raise StorageError(
                f"{others:,} rows of {table} are of coloured images or vectors, or resize images, which "
                "the earlier version cannot: remove their runs and networks first, `annealq runs delete`, "
                "`annealq networks remove`"
            )
