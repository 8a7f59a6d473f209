"""Owners apart from their keys, sessions of the pages, and deliveries that can be tests.

SQLite neither drops a unique column nor changes whether a column may be null, so these tables are copied
aside, created again and filled from the copy. No other table refers to them.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

_KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_TIME = sa.DateTime(timezone=True)
_JSON = sa.JSON(none_as_null=True)
_LIMITS = "requests_per_minute, images_per_day, qpu_us_per_day, webhook_secret, webhook_url"
_COUNTS = "minute, requests, day, images"
_SUBMISSIONS = "run_id, webhook_url, webhook_secret, request, created_at"
_MESSAGES = "id, run_id, event, event_id, state, body, attempts, due_at, lease_until, error"
_TIMES = "happened_at, created_at, delivered_at"


def upgrade() -> None:
    _set_aside("deliveries", "submissions", "api_keys")
    _create_owners()
    _create_keys()
    _create_sessions()
    _create_submissions("owner_id", "owners")
    _create_deliveries()
    # An owner has the number of the key that it had.
    owner = f"id, name, scope, all_runs, {_LIMITS}, {_COUNTS}, created_at"
    _fill("owners", owner, owner, "api_keys_aside")
    key = "prefix, sha256, created_at, revoked_at"
    _fill("api_keys", f"owner_id, id, {key}", f"id, id, {key}", "api_keys_aside")
    _fill("submissions", f"owner_id, {_SUBMISSIONS}", f"key_id, {_SUBMISSIONS}", "submissions_aside")
    columns = f"{_MESSAGES}, {_TIMES}"
    owner_of = "(SELECT key_id FROM submissions_aside s WHERE s.run_id = deliveries_aside.run_id)"
    _fill("deliveries", f"{columns}, owner_id", f"{columns}, {owner_of}", "deliveries_aside")
    _drop_aside("deliveries", "submissions", "api_keys")
    _continue_numbers("owners", "api_keys", "deliveries")


def downgrade() -> None:
    # The earlier version knows messages about runs, one for each time, and of these kinds only.
    op.execute(
        "DELETE FROM deliveries WHERE run_id IS NULL OR event NOT IN ('ended', 'waiting', 'resumed', 'alarm')"
    )
    op.execute(
        "DELETE FROM deliveries WHERE id NOT IN (SELECT min(id) FROM deliveries GROUP BY run_id, happened_at)"
    )
    op.drop_table("page_sessions")
    _set_aside("deliveries", "submissions", "api_keys", "owners")
    _create_earlier_keys()
    _create_submissions("key_id", "api_keys")
    _create_earlier_deliveries()
    _fill_earlier_keys()
    _fill("submissions", f"key_id, {_SUBMISSIONS}", f"owner_id, {_SUBMISSIONS}", "submissions_aside")
    columns = f"{_MESSAGES}, {_TIMES}"
    _fill("deliveries", columns, columns, "deliveries_aside")
    _drop_aside("deliveries", "submissions", "api_keys", "owners")
    _continue_numbers("api_keys", "deliveries")


def _set_aside(*tables: str) -> None:
    for table in tables:
        op.execute(f"CREATE TABLE {table}_aside AS SELECT * FROM {table}")  # noqa: S608
        op.drop_table(table)


def _drop_aside(*tables: str) -> None:
    for table in tables:
        op.drop_table(f"{table}_aside")


def _fill(table: str, columns: str, values: str, source: str) -> None:
    op.execute(f"INSERT INTO {table} ({columns}) SELECT {values} FROM {source}")  # noqa: S608


def _fill_earlier_keys() -> None:
    """Give each owner one of its keys: if possible one that is valid and does not expire, then the newest.

    The earlier version does not know that a key expires, so that a key which does is revoked.
    """
    best = (
        "SELECT k.id FROM api_keys_aside k WHERE k.owner_id = owners_aside.id ORDER BY "
        "CASE WHEN k.revoked_at IS NULL AND k.expires_at IS NULL THEN 0 ELSE 1 END, k.id DESC LIMIT 1"
    )
    owner = f"name, scope, all_runs, {_LIMITS}, {_COUNTS}"
    op.execute(
        f"INSERT INTO api_keys (id, {owner}, prefix, sha256, created_at, revoked_at) "  # noqa: S608
        f"SELECT owners_aside.id, {owner}, key.prefix, key.sha256, owners_aside.created_at, "
        "coalesce(key.revoked_at, key.expires_at) FROM owners_aside "
        f"JOIN api_keys_aside key ON key.id = ({best})"
    )


def _continue_numbers(*tables: str) -> None:
    """Let PostgreSQL number new rows after those that were copied; SQLite does so by itself."""
    if op.get_bind().dialect.name != "postgresql":
        return
    for table in tables:
        op.execute(
            f"SELECT setval(pg_get_serial_sequence('{table}', 'id'), "  # noqa: S608
            f"(SELECT coalesce(max(id), 0) + 1 FROM {table}), false)"
        )


def _create_owners() -> None:
    op.create_table(
        "owners",
        sa.Column("id", _KEY, nullable=False),
        *_permissions("name", "scope"),
        sa.Column("sees", _JSON, nullable=True),
        *_limits(),
        sa.Column("webhook_events", _JSON, nullable=True),
        *_counts(),
        sa.Column("created_at", _TIME, nullable=False),
        sa.CheckConstraint("scope IN ('read', 'submit', 'admin')", name=op.f("ck_owners_scope_known")),
        sa.CheckConstraint("requests >= 0 AND images >= 0", name=op.f("ck_owners_counts_positive")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_owners")),
        sa.UniqueConstraint("name", name=op.f("uq_owners_name")),
    )


def _create_keys() -> None:
    op.create_table(
        "api_keys",
        sa.Column("id", _KEY, nullable=False),
        sa.Column("owner_id", _KEY, nullable=False),
        sa.Column("prefix", sa.String(length=16), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("expires_at", _TIME, nullable=True),
        sa.Column("revoked_at", _TIME, nullable=True),
        sa.Column("last_used_at", _TIME, nullable=True),
        sa.ForeignKeyConstraint(["owner_id"], ["owners.id"], name=op.f("fk_api_keys_owner_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_keys")),
        sa.UniqueConstraint("prefix", name=op.f("uq_api_keys_prefix")),
    )
    op.create_index(op.f("ix_api_keys_owner_id"), "api_keys", ["owner_id"])


def _create_sessions() -> None:
    op.create_table(
        "page_sessions",
        sa.Column("id", _KEY, nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("key_id", _KEY, nullable=True),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("expires_at", _TIME, nullable=False),
        sa.Column("last_seen_at", _TIME, nullable=False),
        sa.Column("revoked_at", _TIME, nullable=True),
        sa.ForeignKeyConstraint(["key_id"], ["api_keys.id"], name=op.f("fk_page_sessions_key_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_page_sessions")),
        sa.UniqueConstraint("sha256", name=op.f("uq_page_sessions_sha256")),
    )
    op.create_index(op.f("ix_page_sessions_expires_at"), "page_sessions", ["expires_at"])


def _create_submissions(owner: str, owners: str) -> None:
    events = [sa.Column("webhook_events", _JSON, nullable=True)] if owner == "owner_id" else []
    op.create_table(
        "submissions",
        sa.Column("run_id", _KEY, nullable=False),
        sa.Column(owner, _KEY, nullable=True),
        sa.Column("webhook_url", sa.Text(), nullable=True),
        sa.Column("webhook_secret", sa.String(length=128), nullable=True),
        *events,
        sa.Column("request", _JSON, nullable=True),
        sa.Column("created_at", _TIME, nullable=False),
        sa.CheckConstraint(
            "webhook_url IS NULL OR webhook_secret IS NOT NULL",
            name=op.f("ck_submissions_webhooks_are_signed"),
        ),
        sa.ForeignKeyConstraint([owner], [f"{owners}.id"], name=op.f(f"fk_submissions_{owner}")),
        sa.ForeignKeyConstraint(
            ["run_id"], ["runs.id"], name=op.f("fk_submissions_run_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("run_id", name=op.f("pk_submissions")),
    )
    op.create_index(op.f(f"ix_submissions_{owner}_created_at"), "submissions", [owner, "created_at"])


def _create_deliveries() -> None:
    op.create_table(
        "deliveries",
        *_message_columns(run_is_needed=False),
        sa.Column("owner_id", _KEY, nullable=True),
        sa.Column("url", sa.Text(), nullable=True),
        sa.Column("response_status", sa.Integer(), nullable=True),
        sa.Column("latency_ms", sa.Integer(), nullable=True),
        *_message_constraints(),
        sa.CheckConstraint(
            "run_id IS NOT NULL OR owner_id IS NOT NULL", name=op.f("ck_deliveries_has_subject")
        ),
        sa.ForeignKeyConstraint(["owner_id"], ["owners.id"], name=op.f("fk_deliveries_owner_id")),
        sa.UniqueConstraint(
            "run_id", "event", "happened_at", name=op.f("uq_deliveries_run_id_event_happened_at")
        ),
    )
    op.create_index(op.f("ix_deliveries_state_due_at"), "deliveries", ["state", "due_at"])
    op.create_index(op.f("ix_deliveries_owner_id"), "deliveries", ["owner_id"])


def _create_earlier_keys() -> None:
    op.create_table(
        "api_keys",
        sa.Column("id", _KEY, nullable=False),
        *_permissions("name", "prefix", "sha256", "scope"),
        *_limits(),
        *_counts(),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("revoked_at", _TIME, nullable=True),
        sa.CheckConstraint("scope IN ('read', 'submit', 'admin')", name=op.f("ck_api_keys_scope_known")),
        sa.CheckConstraint("requests >= 0 AND images >= 0", name=op.f("ck_api_keys_counts_positive")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_keys")),
        sa.UniqueConstraint("name", name=op.f("uq_api_keys_name")),
        sa.UniqueConstraint("prefix", name=op.f("uq_api_keys_prefix")),
    )


def _create_earlier_deliveries() -> None:
    op.create_table(
        "deliveries",
        *_message_columns(run_is_needed=True),
        *_message_constraints(),
        sa.UniqueConstraint("run_id", "happened_at", name=op.f("uq_deliveries_run_id_ended_at")),
    )
    op.create_index(op.f("ix_deliveries_state_due_at"), "deliveries", ["state", "due_at"])


def _permissions(*words: str) -> list[sa.Column[object]]:
    lengths = {"prefix": 16, "scope": 16}
    columns: list[sa.Column[object]] = [
        sa.Column(name, sa.String(length=lengths.get(name, 64)), nullable=False) for name in words
    ]
    return [*columns, sa.Column("all_runs", sa.Boolean(), server_default=sa.false(), nullable=False)]


def _limits() -> list[sa.Column[object]]:
    return [
        sa.Column("requests_per_minute", sa.Integer(), nullable=True),
        sa.Column("images_per_day", sa.BigInteger(), nullable=True),
        sa.Column("qpu_us_per_day", sa.BigInteger(), nullable=True),
        sa.Column("webhook_secret", sa.String(length=128), nullable=False),
        sa.Column("webhook_url", sa.Text(), nullable=True),
    ]


def _counts() -> list[sa.Column[object]]:
    return [
        sa.Column("minute", _TIME, nullable=True),
        sa.Column("requests", sa.Integer(), nullable=False),
        sa.Column("day", _TIME, nullable=True),
        sa.Column("images", sa.BigInteger(), nullable=False),
    ]


def _message_columns(*, run_is_needed: bool) -> list[sa.Column[object]]:
    return [
        sa.Column("id", _KEY, nullable=False),
        sa.Column("run_id", _KEY, nullable=not run_is_needed),
        sa.Column("happened_at", _TIME, nullable=False),
        sa.Column("event", sa.String(length=16), server_default="ended", nullable=False),
        sa.Column("event_id", sa.String(length=64), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("due_at", _TIME, nullable=False),
        sa.Column("lease_until", _TIME, nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("delivered_at", _TIME, nullable=True),
    ]


def _message_constraints() -> list[sa.Constraint]:
    return [
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
    ]
