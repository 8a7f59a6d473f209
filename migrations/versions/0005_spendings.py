"""What runs have spent on each day, as sums that admission reads; batches that were begun and left."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_BEGUN = "ix_batches_run_id_state_fence"
_ADD_UP = """
    INSERT INTO spendings (run_id, day, spent_us)
    SELECT batches.run_id, DAY, sum(problems.wasted_us + coalesce(
        CASE WHEN problems.state IN ('sending', 'sent') THEN problems.estimated_us
        ELSE problems.charged_us END, 0))
    FROM problems JOIN batches ON batches.id = problems.batch_id
    WHERE problems.sending_at IS NOT NULL
    GROUP BY 1, 2
"""


def upgrade() -> None:
    op.create_table(
        "spendings",
        sa.Column("run_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("spent_us", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["run_id"], ["runs.id"], name=op.f("fk_spendings_run_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("run_id", "day", name=op.f("pk_spendings")),
    )
    op.create_index(op.f("ix_spendings_day"), "spendings", ["day"])
    op.create_index(op.f(_BEGUN), "batches", ["run_id", "state", "fence"])
    op.execute(_ADD_UP.replace("DAY", _day("problems.sending_at")))


def downgrade() -> None:
    op.drop_index(op.f(_BEGUN), table_name="batches")
    op.drop_index(op.f("ix_spendings_day"), table_name="spendings")
    op.drop_table("spendings")


def _day(moment: str) -> str:
    """Return the day (UTC) of a stored time as this database spells it."""
    if op.get_bind().dialect.name == "sqlite":
        return f"date({moment})"
    return f"CAST({moment} AT TIME ZONE 'UTC' AS DATE)"
