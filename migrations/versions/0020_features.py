"""Feature vectors that backbones make of pictures, computed before they are sampled or trained on."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None

_KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    _create_sets()
    op.create_table(
        "feature_parts",
        sa.Column("feature_set_id", _KEY, autoincrement=False, nullable=False),
        sa.Column("first", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["feature_set_id"],
            ["feature_sets.id"],
            name=op.f("fk_feature_parts_feature_set_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("feature_set_id", "first", name=op.f("pk_feature_parts")),
    )
    # Not as a batch: SQLite would copy the tables and drop them, which deletes what refers to them.
    number = "INTEGER" if op.get_bind().dialect.name == "sqlite" else "BIGINT"
    for table in ("batches", "networks"):
        op.execute(
            f"ALTER TABLE {table} ADD COLUMN feature_set_id {number} CONSTRAINT fk_{table}_feature_set_id "
            "REFERENCES feature_sets (id)"
        )
        op.create_index(op.f(f"ix_{table}_feature_set_id"), table, ["feature_set_id"], unique=False)


def _create_sets() -> None:
    op.create_table(
        "feature_sets",
        sa.Column("id", _KEY, nullable=False),
        sa.Column("images_sha256", sa.String(length=64), nullable=False),
        sa.Column("recipe_sha256", sa.String(length=64), nullable=False),
        sa.Column("backbone_id", _KEY, nullable=False),
        sa.Column("recipe", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("features", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("dispatched_at", _TIME, nullable=True),
        sa.Column("seconds", sa.Double(), nullable=True),
        sa.Column("computed", sa.Integer(), nullable=True),
        sa.Column("finished_at", _TIME, nullable=True),
        sa.Column("fence", sa.Integer(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("lease_until", _TIME, nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("started_at", _TIME, nullable=True),
        sa.CheckConstraint("count > 0 AND features > 0", name=op.f("ck_feature_sets_sizes_positive")),
        sa.CheckConstraint(
            "state IN ('queued', 'computing', 'ready', 'failed')", name=op.f("ck_feature_sets_state_known")
        ),
        sa.CheckConstraint(
            "state <> 'computing' OR lease_until IS NOT NULL",
            name=op.f("ck_feature_sets_computing_has_lease"),
        ),
        sa.CheckConstraint(
            "state <> 'ready' OR finished_at IS NOT NULL", name=op.f("ck_feature_sets_ready_has_time")
        ),
        sa.CheckConstraint(
            "state <> 'failed' OR error IS NOT NULL", name=op.f("ck_feature_sets_failed_says_why")
        ),
        sa.ForeignKeyConstraint(
            ["backbone_id"],
            ["backbones.id"],
            name=op.f("fk_feature_sets_backbone_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_feature_sets")),
        sa.UniqueConstraint(
            "images_sha256", "recipe_sha256", name=op.f("uq_feature_sets_images_sha256_recipe_sha256")
        ),
    )
    for column in ("state", "backbone_id"):
        op.create_index(op.f(f"ix_feature_sets_{column}"), "feature_sets", [column], unique=False)


def downgrade() -> None:
    for table in ("batches", "networks"):
        op.drop_index(op.f(f"ix_{table}_feature_set_id"), table_name=table)
        op.execute(f"ALTER TABLE {table} DROP COLUMN feature_set_id")
    op.drop_table("feature_parts")
    op.drop_table("feature_sets")
