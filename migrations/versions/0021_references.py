"""Batches that name rows of files instead of holding their images."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("batch_images", sa.Column("reference", sa.JSON(none_as_null=True), nullable=True))
    op.add_column(
        "intakes", sa.Column("by_reference", sa.Boolean(), server_default=sa.false(), nullable=False)
    )


def downgrade() -> None:
    # The earlier version finds no images in batches that name them, and says so.
    op.drop_column("intakes", "by_reference")
    op.drop_column("batch_images", "reference")
