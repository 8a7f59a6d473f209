"""Images of batches in a table of their own: rows that move between states are short."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_NAMES = ("images", "images_sha256", "labels", "sources")


def upgrade() -> None:
    key = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "batch_images",
        sa.Column("batch_id", key, nullable=False, autoincrement=False),
        sa.Column("images", sa.LargeBinary(), nullable=False),
        sa.Column("images_sha256", sa.String(length=64), nullable=False),
        sa.Column("labels", sa.LargeBinary(), nullable=True),
        sa.Column("sources", sa.JSON(none_as_null=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["batch_id"], ["batches.id"], name=op.f("fk_batch_images_batch_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("batch_id", name=op.f("pk_batch_images")),
    )
    names = ", ".join(_NAMES)
    op.execute(f"INSERT INTO batch_images (batch_id, {names}) SELECT id, {names} FROM batches")  # noqa: S608
    for name in _NAMES:
        op.execute(f"ALTER TABLE batches DROP COLUMN {name}")


def downgrade() -> None:
    is_sqlite = op.get_bind().dialect.name == "sqlite"
    binary, empty = ("BLOB", "x''") if is_sqlite else ("BYTEA", "''::bytea")
    kinds = (f"{binary} DEFAULT {empty} NOT NULL", "VARCHAR(64) DEFAULT '' NOT NULL", binary, "JSON")
    for name, kind in zip(_NAMES, kinds, strict=True):
        op.execute(f"ALTER TABLE batches ADD COLUMN {name} {kind}")
    values = ", ".join(f"{name} = batch_images.{name}" for name in _NAMES)
    op.execute(f"UPDATE batches SET {values} FROM batch_images WHERE batch_id = batches.id")  # noqa: S608
    op.drop_table("batch_images")
