"""Digests of problems as they were sent, by which they can be proven."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("problems", sa.Column("sent_sha256", sa.String(64), nullable=True))


def downgrade() -> None:
    op.drop_column("problems", "sent_sha256")
