"""Rounds of reads, probabilities and sets of classes of images, and what a run with a target promised."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

_JSON = sa.JSON(none_as_null=True)


def upgrade() -> None:
    for table, columns in _columns().items():
        for column in columns:
            op.add_column(table, column)


def downgrade() -> None:
    for table, columns in _columns().items():
        for column in columns:
            op.execute(f"ALTER TABLE {table} DROP COLUMN {column.name}")


def _columns() -> dict[str, tuple[sa.Column[Any], ...]]:
    """Return the new columns of each table."""
    return {
        "runs": (
            sa.Column("round", sa.Integer(), nullable=False, server_default="1"),
            sa.Column("reads_reason", sa.Text(), nullable=True),
            sa.Column("promise", _JSON, nullable=True),
        ),
        "batches": (
            sa.Column("round", sa.Integer(), nullable=False, server_default="1"),
            sa.Column("reads", sa.Integer(), nullable=True),
            sa.Column("members", sa.LargeBinary(), nullable=True),
        ),
        "classifications": (
            sa.Column("reads", sa.Integer(), nullable=True),
            sa.Column("earlier_predicted", sa.Integer(), nullable=True),
            sa.Column("probabilities", sa.LargeBinary(), nullable=True),
            sa.Column("class_set", sa.LargeBinary(), nullable=True),
            sa.Column("set_size", sa.Integer(), nullable=True),
        ),
        "calibrations": (sa.Column("nonconformity", sa.LargeBinary(), nullable=True),),
    }
