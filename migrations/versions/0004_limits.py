"""Why runs are paused, and solvers that do not answer."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_DUE = "ix_batches_run_id_state_ordinal_due_at_dispatched_at"


def upgrade() -> None:
    for name, kind in (("paused_by", "VARCHAR(16)"), ("pause_reason", "TEXT"), ("paused_at", _moment())):
        op.execute(f"ALTER TABLE runs ADD COLUMN {name} {kind}")
    # Whatever is paused so far was paused by hand: nothing else could.
    op.execute("UPDATE runs SET paused_by = 'hand' WHERE state = 'paused'")
    op.create_index(op.f("ix_problems_sending_at"), "problems", ["sending_at"])
    op.create_index(op.f(_DUE), "batches", ["run_id", "state", "ordinal", "due_at", "dispatched_at"])
    op.create_table(
        "breakers",
        sa.Column("solver", sa.String(length=600), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("error", sa.Text(), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
        sa.Column("retry_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("probe", sa.BigInteger(), nullable=True),
        sa.CheckConstraint("failures > 0", name=op.f("ck_breakers_has_failed")),
        sa.PrimaryKeyConstraint("solver", name=op.f("pk_breakers")),
    )


def downgrade() -> None:
    op.drop_table("breakers")
    op.drop_index(op.f(_DUE), table_name="batches")
    op.drop_index(op.f("ix_problems_sending_at"), table_name="problems")
    for name in ("paused_at", "pause_reason", "paused_by"):
        op.execute(f"ALTER TABLE runs DROP COLUMN {name}")


def _moment() -> str:
    """Return the type of a time as this database spells it."""
    return "DATETIME" if op.get_bind().dialect.name == "sqlite" else "TIMESTAMP WITH TIME ZONE"
