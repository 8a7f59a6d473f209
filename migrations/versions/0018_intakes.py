"""Intakes: runs whose images are read in pieces."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

_KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "intakes",
        sa.Column("id", _KEY, autoincrement=False, nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("files", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("batch_size", sa.Integer(), nullable=False),
        sa.Column("rows", sa.BigInteger(), nullable=False),
        sa.Column("total", sa.BigInteger(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("read_at", _TIME, nullable=False),
        sa.Column("finished_at", _TIME, nullable=True),
        sa.CheckConstraint("state IN ('reading', 'stopped', 'ended')", name=op.f("ck_intakes_state_known")),
        sa.CheckConstraint("batch_size > 0", name=op.f("ck_intakes_sizes_positive")),
        sa.CheckConstraint(
            "(state = 'stopped') = (error IS NOT NULL)", name=op.f("ck_intakes_stopped_says_why")
        ),
        sa.CheckConstraint(
            "(state = 'ended') = (finished_at IS NOT NULL)", name=op.f("ck_intakes_ended_has_time")
        ),
        sa.ForeignKeyConstraint(["id"], ["runs.id"], name=op.f("fk_intakes_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_intakes")),
    )


def downgrade() -> None:
    # A run that was not read to its end is complete for the earlier version: it ends with the images it has.
    op.drop_table("intakes")
