"""Windows and deadlines of runs; schedules."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_TIMES = ("opened_until", "deadline_at")


def upgrade() -> None:
    for name in _TIMES:
        op.execute(f"ALTER TABLE runs ADD COLUMN {name} {_moment()}")
    op.create_table(
        "schedules",
        sa.Column("id", _key(), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("cron", sa.String(length=100), nullable=False),
        sa.Column("zone", sa.String(length=64), nullable=False),
        sa.Column("request", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("data_sha256", sa.String(length=64), nullable=False),
        sa.Column("next_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("planned_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("state IN ('active', 'paused')", name=op.f("ck_schedules_state_known")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_schedules")),
        sa.UniqueConstraint("name", name=op.f("uq_schedules_name")),
    )
    op.create_index(op.f("ix_schedules_state_next_at"), "schedules", ["state", "next_at"])
    _create_firings()


def _create_firings() -> None:
    op.create_table(
        "firings",
        sa.Column("id", _key(), nullable=False),
        sa.Column("schedule_id", _key(), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("by_hand", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("missed", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("run_id", _key(), nullable=True),
        sa.Column("data_sha256", sa.String(length=64), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("(state = 'due') = (ended_at IS NULL)", name=op.f("ck_firings_ended_has_time")),
        sa.CheckConstraint("state <> 'failed' OR error IS NOT NULL", name=op.f("ck_firings_failed_says_why")),
        sa.CheckConstraint("state IN ('due', 'enqueued', 'failed')", name=op.f("ck_firings_state_known")),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_firings_run_id"), ondelete="SET NULL"),
        sa.ForeignKeyConstraint(
            ["schedule_id"], ["schedules.id"], name=op.f("fk_firings_schedule_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_firings")),
        sa.UniqueConstraint("schedule_id", "due_at", name=op.f("uq_firings_schedule_id_due_at")),
    )
    op.create_index(op.f("ix_firings_state"), "firings", ["state"])


def downgrade() -> None:
    op.drop_table("firings")
    op.drop_table("schedules")
    # The older code does not know these words; it has no windows, and a user resumes a run.
    op.execute("UPDATE runs SET paused_by = 'hand' WHERE paused_by IN ('window', 'deadline')")
    for name in reversed(_TIMES):
        op.execute(f"ALTER TABLE runs DROP COLUMN {name}")


def _key() -> sa.BigInteger:
    """Return the type of a key; SQLite numbers rows on its own only where it is INTEGER."""
    return sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def _moment() -> str:
    """Return the type of a time as this database spells it."""
    return "DATETIME" if op.get_bind().dialect.name == "sqlite" else "TIMESTAMP WITH TIME ZONE"
