"""Where runs have their data and network from, default networks, and the certainty of classifications."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

_JSON = (("runs", "data"), ("training_sets", "data"))


def upgrade() -> None:
    double = "DOUBLE" if op.get_bind().dialect.name == "sqlite" else "DOUBLE PRECISION"
    op.execute("ALTER TABLE networks ADD COLUMN is_default BOOLEAN DEFAULT false NOT NULL")
    op.execute("ALTER TABLE runs ADD COLUMN network_reason TEXT")
    op.execute(f"ALTER TABLE classifications ADD COLUMN energy_gap {double}")
    op.execute(f"ALTER TABLE classifications ADD COLUMN probability {double}")
    for table, name in _JSON:
        op.add_column(table, sa.Column(name, sa.JSON(none_as_null=True), nullable=True))


def downgrade() -> None:
    for table, name in _JSON:
        op.execute(f"ALTER TABLE {table} DROP COLUMN {name}")
    for name in ("probability", "energy_gap"):
        op.execute(f"ALTER TABLE classifications DROP COLUMN {name}")
    op.execute("ALTER TABLE runs DROP COLUMN network_reason")
    op.execute("ALTER TABLE networks DROP COLUMN is_default")
