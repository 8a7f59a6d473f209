"""Backbones: frozen networks in the ONNX format that turn pictures into feature vectors."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None

_KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_TIME = sa.DateTime(timezone=True)
_JSON = sa.JSON(none_as_null=True)


def upgrade() -> None:
    op.create_table(
        "backbones",
        sa.Column("id", _KEY, nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("scale", _JSON, nullable=False),
        sa.Column("features", sa.Integer(), nullable=False),
        sa.Column("facts", _JSON, nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.CheckConstraint("size > 0 AND features > 0", name=op.f("ck_backbones_sizes_positive")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_backbones")),
        sa.UniqueConstraint("name", name=op.f("uq_backbones_name")),
        sa.UniqueConstraint("sha256", name=op.f("uq_backbones_sha256")),
    )
    op.create_table(
        "backbone_files",
        sa.Column("backbone_id", _KEY, autoincrement=False, nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["backbone_id"],
            ["backbones.id"],
            name=op.f("fk_backbone_files_backbone_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("backbone_id", name=op.f("pk_backbone_files")),
    )


def downgrade() -> None:
    op.drop_table("backbone_files")
    op.drop_table("backbones")
