"""Charges in steps of 0.1 us, the QPU of problems and runs, later looks for duplicates, and accounts."""

from __future__ import annotations

import secrets

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

# Columns of microseconds that become fractional: table, name, and the end of their definition.
_CHARGES = (
    ("problems", "charged_us", ""),
    ("problems", "wasted_us", " DEFAULT 0 NOT NULL"),
    ("spendings", "spent_us", " DEFAULT 0 NOT NULL"),
)
_PROBLEMS = (
    ("charge_estimated", "BOOLEAN DEFAULT false NOT NULL"),
    ("qpu", "VARCHAR(128)"),
    ("rechecks", "INTEGER DEFAULT 0 NOT NULL"),
)
_RUNS = (("qpu", "VARCHAR(128)"), ("graph_id", "VARCHAR(64)"))


def upgrade() -> None:
    double = "DOUBLE" if op.get_bind().dialect.name == "sqlite" else "DOUBLE PRECISION"
    for table, name, rest in _CHARGES:
        _retype(table, name, f"{double}{rest}", name)
    for name, kind in _PROBLEMS:
        op.execute(f"ALTER TABLE problems ADD COLUMN {name} {kind}")
    op.execute(f"ALTER TABLE problems ADD COLUMN coupling_bias {double}")
    op.add_column("problems", sa.Column("measured", sa.JSON(none_as_null=True), nullable=True))
    op.add_column("problems", sa.Column("recheck_at", sa.DateTime(timezone=True), nullable=True))
    op.create_index(op.f("ix_problems_recheck_at"), "problems", ["recheck_at"])
    for name, kind in _RUNS:
        op.execute(f"ALTER TABLE runs ADD COLUMN {name} {kind}")
    op.execute("ALTER TABLE deliveries RENAME COLUMN ended_at TO happened_at")
    op.execute("ALTER TABLE deliveries ADD COLUMN event VARCHAR(16) DEFAULT 'ended' NOT NULL")
    op.add_column("embeddings", sa.Column("saved_at", sa.DateTime(timezone=True), nullable=True))
    ledgers = op.create_table(
        "ledgers",
        sa.Column("key", sa.String(length=8), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_ledgers")),
    )
    op.execute(ledgers.insert().values(key=secrets.token_hex(4), created_at=sa.func.current_timestamp()))
    # What solvers failed lately is learned again at the next request.
    op.drop_table("breakers")
    _create_breakers(with_account=True)


def downgrade() -> None:
    op.drop_table("breakers")
    _create_breakers(with_account=False)
    op.drop_table("ledgers")
    # Notices that a run waits are not known to the earlier version.
    op.execute("DELETE FROM deliveries WHERE event <> 'ended'")
    op.execute("ALTER TABLE deliveries DROP COLUMN event")
    op.execute("ALTER TABLE deliveries RENAME COLUMN happened_at TO ended_at")
    op.execute("ALTER TABLE embeddings DROP COLUMN saved_at")
    for name, _ in _RUNS:
        op.execute(f"ALTER TABLE runs DROP COLUMN {name}")
    op.drop_index(op.f("ix_problems_recheck_at"), table_name="problems")
    for name in ("recheck_at", "measured", "coupling_bias", *(name for name, _ in _PROBLEMS)):
        op.execute(f"ALTER TABLE problems DROP COLUMN {name}")
    for table, name, rest in _CHARGES:
        _retype(table, name, f"BIGINT{rest}", f"ROUND({name})")


def _retype(table: str, name: str, kind: str, value: str) -> None:
    """Give a column another type without a copy of the table, from which other tables' rows depend."""
    temporary = f"{name}_"
    op.execute(f"ALTER TABLE {table} ADD COLUMN {temporary} {kind}")
    op.execute(f"UPDATE {table} SET {temporary} = {value}")  # noqa: S608
    op.execute(f"ALTER TABLE {table} DROP COLUMN {name}")
    op.execute(f"ALTER TABLE {table} RENAME COLUMN {temporary} TO {name}")


def _create_breakers(*, with_account: bool) -> None:
    account, opened = [], []
    if with_account:
        account = [sa.Column("account", sa.String(length=16), server_default="", nullable=False)]
        opened = [sa.Column("opened_at", sa.DateTime(timezone=True), nullable=True)]
    op.create_table(
        "breakers",
        sa.Column("solver", sa.String(length=600), nullable=False),
        *account,
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("error", sa.Text(), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
        *opened,
        sa.Column("retry_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("probe", sa.BigInteger(), nullable=True),
        sa.CheckConstraint("failures > 0", name=op.f("ck_breakers_has_failed")),
        sa.PrimaryKeyConstraint("solver", *(column.name for column in account), name=op.f("pk_breakers")),
    )
