"""Plans of calibrations: what was asked for, until a worker has made runs of it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

_KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_TIME = sa.DateTime(timezone=True)
_JSON = sa.JSON(none_as_null=True)


def upgrade() -> None:
    op.create_table(
        "calibration_plans",
        sa.Column("id", _KEY, autoincrement=False, nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("owner_id", _KEY, nullable=True),
        sa.Column("idempotency_key", sa.String(length=255), nullable=True),
        sa.Column("content_sha256", sa.String(length=64), nullable=False),
        sa.Column("training_set_id", _KEY, nullable=False),
        sa.Column("settings", _JSON, nullable=False),
        sa.Column("progress", _JSON, nullable=True),
        sa.Column("dispatched_at", _TIME, nullable=True),
        sa.Column("finished_at", _TIME, nullable=True),
        sa.Column("fence", sa.Integer(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("lease_until", _TIME, nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("started_at", _TIME, nullable=True),
        sa.CheckConstraint(
            "state IN ('queued', 'planning', 'ready', 'failed')",
            name=op.f("ck_calibration_plans_state_known"),
        ),
        sa.CheckConstraint(
            "state <> 'planning' OR lease_until IS NOT NULL",
            name=op.f("ck_calibration_plans_planning_has_lease"),
        ),
        sa.CheckConstraint(
            "state <> 'ready' OR finished_at IS NOT NULL", name=op.f("ck_calibration_plans_ready_has_time")
        ),
        sa.CheckConstraint(
            "state <> 'failed' OR error IS NOT NULL", name=op.f("ck_calibration_plans_failed_says_why")
        ),
        sa.ForeignKeyConstraint(
            ["id"], ["calibrations.id"], name=op.f("fk_calibration_plans_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["owner_id"], ["owners.id"], name=op.f("fk_calibration_plans_owner_id")),
        sa.ForeignKeyConstraint(
            ["training_set_id"], ["training_sets.id"], name=op.f("fk_calibration_plans_training_set_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_calibration_plans")),
        sa.UniqueConstraint("idempotency_key", name=op.f("uq_calibration_plans_idempotency_key")),
    )
    for column in ("state", "content_sha256"):
        op.create_index(op.f(f"ix_calibration_plans_{column}"), "calibration_plans", [column])


def downgrade() -> None:
    # The earlier version has no task that makes runs of them: it would find them without runs, and fail.
    op.execute(
        "DELETE FROM calibrations WHERE id IN (SELECT id FROM calibration_plans WHERE state <> 'ready') "
        "AND state = 'waiting'"
    )
    op.drop_table("calibration_plans")
