"""Keys of the HTTP API, runs that came by it, and messages to webhooks."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    _create_keys()
    _create_submissions()
    _create_deliveries()


def downgrade() -> None:
    for table in ("deliveries", "submissions", "api_keys"):
        op.drop_table(table)


def _create_keys() -> None:
    op.create_table(
        "api_keys",
        sa.Column("id", _key(), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("prefix", sa.String(length=16), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("scope", sa.String(length=16), nullable=False),
        sa.Column("requests_per_minute", sa.Integer(), nullable=True),
        sa.Column("images_per_day", sa.BigInteger(), nullable=True),
        sa.Column("qpu_us_per_day", sa.BigInteger(), nullable=True),
        sa.Column("webhook_secret", sa.String(length=128), nullable=False),
        sa.Column("webhook_url", sa.Text(), nullable=True),
        sa.Column("minute", _moment(), nullable=True),
        sa.Column("requests", sa.Integer(), nullable=False),
        sa.Column("day", _moment(), nullable=True),
        sa.Column("images", sa.BigInteger(), nullable=False),
        sa.Column("created_at", _moment(), nullable=False),
        sa.Column("revoked_at", _moment(), nullable=True),
        sa.CheckConstraint("scope IN ('read', 'submit', 'admin')", name=op.f("ck_api_keys_scope_known")),
        sa.CheckConstraint("requests >= 0 AND images >= 0", name=op.f("ck_api_keys_counts_positive")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_keys")),
        sa.UniqueConstraint("name", name=op.f("uq_api_keys_name")),
        sa.UniqueConstraint("prefix", name=op.f("uq_api_keys_prefix")),
    )


def _create_submissions() -> None:
    op.create_table(
        "submissions",
        sa.Column("run_id", _key(), nullable=False),
        sa.Column("key_id", _key(), nullable=True),
        sa.Column("webhook_url", sa.Text(), nullable=True),
        sa.Column("webhook_secret", sa.String(length=128), nullable=True),
        sa.Column("created_at", _moment(), nullable=False),
        sa.CheckConstraint(
            "webhook_url IS NULL OR webhook_secret IS NOT NULL",
            name=op.f("ck_submissions_webhooks_are_signed"),
        ),
        sa.ForeignKeyConstraint(["key_id"], ["api_keys.id"], name=op.f("fk_submissions_key_id")),
        sa.ForeignKeyConstraint(
            ["run_id"], ["runs.id"], name=op.f("fk_submissions_run_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("run_id", name=op.f("pk_submissions")),
    )
    op.create_index(op.f("ix_submissions_key_id_created_at"), "submissions", ["key_id", "created_at"])


def _create_deliveries() -> None:
    op.create_table(
        "deliveries",
        sa.Column("id", _key(), nullable=False),
        sa.Column("run_id", _key(), nullable=False),
        sa.Column("ended_at", _moment(), nullable=False),
        sa.Column("event_id", sa.String(length=64), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("due_at", _moment(), nullable=False),
        sa.Column("lease_until", _moment(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("created_at", _moment(), nullable=False),
        sa.Column("delivered_at", _moment(), nullable=True),
        sa.CheckConstraint(
            "state IN ('pending', 'sending', 'delivered', 'failed')", name=op.f("ck_deliveries_state_known")
        ),
        sa.CheckConstraint(
            "state <> 'sending' OR lease_until IS NOT NULL", name=op.f("ck_deliveries_sending_has_lease")
        ),
        sa.CheckConstraint(
            "(state = 'delivered') = (delivered_at IS NOT NULL)",
            name=op.f("ck_deliveries_delivered_has_time"),
        ),
        sa.CheckConstraint(
            "state <> 'failed' OR error IS NOT NULL", name=op.f("ck_deliveries_failed_says_why")
        ),
        sa.ForeignKeyConstraint(
            ["run_id"], ["runs.id"], name=op.f("fk_deliveries_run_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_deliveries")),
        sa.UniqueConstraint("event_id", name=op.f("uq_deliveries_event_id")),
        sa.UniqueConstraint("run_id", "ended_at", name=op.f("uq_deliveries_run_id_ended_at")),
    )
    op.create_index(op.f("ix_deliveries_state_due_at"), "deliveries", ["state", "due_at"])


def _key() -> sa.types.TypeEngine[int]:
    return sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def _moment() -> sa.DateTime:
    return sa.DateTime(timezone=True)
