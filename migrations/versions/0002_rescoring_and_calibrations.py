"""Runs that score stored samples again; calibrations as work of their own."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_LINKS = (("rescored_from", "runs"), ("calibrated_by", "calibrations"), ("calibrates", "calibrations"))


def upgrade() -> None:
    # Nothing has written calibrations so far, and no table refers to them.
    op.drop_index(op.f("ix_calibrations_network_id_solver_graph_id"), table_name="calibrations")
    op.drop_table("calibrations")
    op.create_table(
        "calibrations",
        sa.Column("id", _key(), nullable=False),
        sa.Column("network_id", _key(), nullable=False),
        sa.Column("solver", sa.String(length=128), nullable=False),
        sa.Column("graph_id", sa.String(length=64), nullable=False),
        sa.Column("visible", sa.String(length=16), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("images", sa.Integer(), nullable=False),
        sa.Column("image_digests", sa.LargeBinary(), nullable=False),
        sa.Column("parameters", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("accuracy", sa.Double(), nullable=True),
        sa.Column("measured", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("fence", sa.Integer(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("dispatched_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("images > 0", name=op.f("ck_calibrations_sizes_positive")),
        sa.CheckConstraint(
            "state <> 'fitting' OR lease_until IS NOT NULL", name=op.f("ck_calibrations_fitting_has_lease")
        ),
        sa.CheckConstraint(
            "state <> 'ready' OR "
            "(parameters IS NOT NULL AND accuracy IS NOT NULL AND finished_at IS NOT NULL)",
            name=op.f("ck_calibrations_ready_has_parameters"),
        ),
        sa.CheckConstraint(
            "state <> 'failed' OR error IS NOT NULL", name=op.f("ck_calibrations_failed_says_why")
        ),
        sa.CheckConstraint(
            "state IN ('waiting', 'fitting', 'ready', 'failed')", name=op.f("ck_calibrations_state_known")
        ),
        sa.ForeignKeyConstraint(["network_id"], ["networks.id"], name=op.f("fk_calibrations_network_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_calibrations")),
    )
    _index_solver()
    op.create_index(op.f("ix_calibrations_state"), "calibrations", ["state"], unique=False)
    # Not as a batch: SQLite would copy `runs` and drop it, and dropping it deletes what refers to it.
    number = "INTEGER" if op.get_bind().dialect.name == "sqlite" else "BIGINT"
    for column, table in _LINKS:
        op.execute(
            f"ALTER TABLE runs ADD COLUMN {column} {number} "
            f"CONSTRAINT fk_runs_{column} REFERENCES {table} (id)"
        )


def downgrade() -> None:
    # Without its source a run that is under way could never be scored.
    op.execute("DELETE FROM runs WHERE rescored_from IS NOT NULL AND finished_at IS NULL")
    for column, _ in _LINKS:
        op.execute(f"ALTER TABLE runs DROP COLUMN {column}")
    op.drop_index(op.f("ix_calibrations_state"), table_name="calibrations")
    op.drop_index(op.f("ix_calibrations_network_id_solver_graph_id"), table_name="calibrations")
    op.drop_table("calibrations")
    op.create_table(
        "calibrations",
        sa.Column("id", _key(), nullable=False),
        sa.Column("network_id", _key(), nullable=False),
        sa.Column("solver", sa.String(length=128), nullable=False),
        sa.Column("graph_id", sa.String(length=64), nullable=False),
        sa.Column("parameters", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("accuracy", sa.Double(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["network_id"], ["networks.id"], name=op.f("fk_calibrations_network_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_calibrations")),
    )
    _index_solver()


def _index_solver() -> None:
    op.create_index(
        op.f("ix_calibrations_network_id_solver_graph_id"),
        "calibrations",
        ["network_id", "solver", "graph_id"],
        unique=False,
    )


def _key() -> sa.types.TypeEngine[int]:
    return sa.BigInteger().with_variant(sa.Integer(), "sqlite")
