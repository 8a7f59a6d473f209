"""API keys that see the runs of others, where the others see their own; runs that have ended lately."""

from __future__ import annotations

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # A key that was made before sees its own runs from now on; those of scope admin still see all.
    op.execute("ALTER TABLE api_keys ADD COLUMN all_runs BOOLEAN DEFAULT false NOT NULL")
    op.execute("UPDATE api_keys SET all_runs = true WHERE scope = 'admin'")
    op.create_index(op.f("ix_runs_finished_at"), "runs", ["finished_at"])


def downgrade() -> None:
    op.drop_index(op.f("ix_runs_finished_at"), table_name="runs")
    op.execute("ALTER TABLE api_keys DROP COLUMN all_runs")
