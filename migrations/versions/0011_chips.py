"""Tiles of problems, QPUs of batches, budgets of calibrations, and alarms of chips."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

_COLUMNS = (
    ("problems", "first_tile", "INTEGER DEFAULT 0 NOT NULL"),
    ("batches", "qpu", "VARCHAR(128)"),
    ("calibrations", "budget_us", "BIGINT"),
    ("chips", "alarm", "TEXT"),
)


def upgrade() -> None:
    for table, name, kind in _COLUMNS:
        op.execute(f"ALTER TABLE {table} ADD COLUMN {name} {kind}")
    op.add_column("chips", sa.Column("alarmed_at", sa.DateTime(timezone=True), nullable=True))


def downgrade() -> None:
    op.execute("ALTER TABLE chips DROP COLUMN alarmed_at")
    for table, name, _ in reversed(_COLUMNS):
        op.execute(f"ALTER TABLE {table} DROP COLUMN {name}")
