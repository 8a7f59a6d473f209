"""Workers, tags of runs, actors of events, requests of submissions, and stored reports."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

_KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_TIME = sa.DateTime(timezone=True)
_JSON = sa.JSON(none_as_null=True)


def upgrade() -> None:
    _create_workers()
    _create_tags()
    _create_renderings()
    op.execute("ALTER TABLE events ADD COLUMN actor VARCHAR(128)")
    op.execute("ALTER TABLE events ADD COLUMN request_id VARCHAR(64)")
    op.add_column("submissions", sa.Column("request", _JSON, nullable=True))


def downgrade() -> None:
    op.drop_column("submissions", "request")
    for name in ("request_id", "actor"):
        op.execute(f"ALTER TABLE events DROP COLUMN {name}")
    for table in ("renderings", "run_tags", "workers"):
        op.drop_table(table)


def _create_workers() -> None:
    op.create_table(
        "workers",
        sa.Column("name", sa.String(length=128), nullable=False),
        sa.Column("host", sa.String(length=255), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("version", sa.String(length=32), nullable=False),
        sa.Column("accounts", _JSON, nullable=False),
        sa.Column("task", sa.String(length=32), nullable=True),
        sa.Column("run_id", sa.BigInteger(), nullable=True),
        sa.Column("batch_id", sa.BigInteger(), nullable=True),
        sa.Column("task_since", _TIME, nullable=True),
        sa.Column("started_at", _TIME, nullable=False),
        sa.Column("seen_at", _TIME, nullable=False),
        sa.Column("stopped_at", _TIME, nullable=True),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_workers")),
    )
    op.create_index(op.f("ix_workers_seen_at"), "workers", ["seen_at"])


def _create_tags() -> None:
    op.create_table(
        "run_tags",
        sa.Column("run_id", _KEY, nullable=False),
        sa.Column("tag", sa.String(length=64), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_run_tags_run_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("run_id", "tag", name=op.f("pk_run_tags")),
    )
    op.create_index(op.f("ix_run_tags_tag_run_id"), "run_tags", ["tag", "run_id"])


def _create_renderings() -> None:
    op.create_table(
        "renderings",
        sa.Column("run_id", _KEY, nullable=False),
        sa.Column("kind", sa.String(length=64), nullable=False),
        sa.Column("content_sha256", sa.String(length=64), nullable=False),
        sa.Column("media_type", sa.String(length=64), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.ForeignKeyConstraint(
            ["run_id"], ["runs.id"], name=op.f("fk_renderings_run_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("run_id", "kind", name=op.f("pk_renderings")),
    )
