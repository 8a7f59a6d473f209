"""Intakes that processes of the service read on, not the command that enqueued the run."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("intakes", sa.Column("background", sa.Boolean(), server_default=sa.false(), nullable=False))
    op.add_column("intakes", sa.Column("source", sa.JSON(none_as_null=True), nullable=True))
    op.add_column("intakes", sa.Column("reader", sa.String(length=160), nullable=True))
    op.add_column("intakes", sa.Column("leased_until", sa.DateTime(timezone=True), nullable=True))
    op.add_column("intakes", sa.Column("attempts", sa.Integer(), server_default="0", nullable=False))


def downgrade() -> None:
    # Runs whose images are not all read wait for `annealq runs resume` then.
    for name in ("attempts", "leased_until", "reader", "source", "background"):
        op.drop_column("intakes", name)
