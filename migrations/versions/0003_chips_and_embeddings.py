"""Chips, embeddings found under a lease, preparations; what problems and batches know of them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_PROBLEM_COLUMNS = (
    ("scale", "FLOAT8"),
    ("chain_strength", "FLOAT8"),
    ("times_sent", "INTEGER DEFAULT '0' NOT NULL"),
    ("adopted", "BOOLEAN DEFAULT false NOT NULL"),
    ("duplicates", "INTEGER DEFAULT '0' NOT NULL"),
    ("wasted_us", "BIGINT DEFAULT '0' NOT NULL"),
    ("chain_breaks", "BYTES"),
)


def upgrade() -> None:
    # Nothing has written embeddings so far; only an empty column of `problems` refers to them.
    _replace_embeddings(_create_chips_and_embeddings, drop=("embeddings",))
    _create_preparations()
    for name, kind in _PROBLEM_COLUMNS:
        op.execute(f"ALTER TABLE problems ADD COLUMN {name} {_native(kind)}")
    op.execute(
        f"ALTER TABLE batches ADD COLUMN embedding_id {_native('BIGKEY')} "
        "CONSTRAINT fk_batches_embedding_id REFERENCES embeddings (id)"
    )
    op.execute(f"ALTER TABLE batches ADD COLUMN embedding_s {_native('FLOAT8')}")


def downgrade() -> None:
    # What is not finished could never be: the older code knows no solver with qubits.
    op.execute("DELETE FROM runs WHERE solver IN ('emulator', 'dwave') AND finished_at IS NULL")
    op.execute("UPDATE problems SET embedding_id = NULL")
    op.execute("ALTER TABLE batches DROP COLUMN embedding_s")
    op.execute("ALTER TABLE batches DROP COLUMN embedding_id")
    for name, _ in reversed(_PROBLEM_COLUMNS):
        op.execute(f"ALTER TABLE problems DROP COLUMN {name}")
    op.drop_index(op.f("ix_preparations_state"), table_name="preparations")
    op.drop_table("preparations")
    _replace_embeddings(_create_old_embeddings, drop=("embeddings", "chips"))


def _replace_embeddings(create, *, drop: tuple[str, ...]) -> None:  # type: ignore[no-untyped-def]
    """Recreate the tables that `problems` refers to; SQLite refers by name, others by constraint."""
    named = op.get_bind().dialect.name != "sqlite"
    if named:
        op.drop_constraint("fk_problems_embedding_id", "problems", type_="foreignkey")
    for table in drop:
        op.drop_table(table)
    create()
    if named:
        op.create_foreign_key("fk_problems_embedding_id", "problems", "embeddings", ["embedding_id"], ["id"])


def _create_chips_and_embeddings() -> None:
    _create_chips()
    _create_embeddings()


def _create_chips() -> None:
    op.create_table(
        "chips",
        sa.Column("id", _key(), nullable=False),
        sa.Column("solver", sa.String(length=16), nullable=False),
        sa.Column("name", sa.String(length=128), nullable=False),
        sa.Column("graph_id", sa.String(length=64), nullable=False),
        sa.Column("properties", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("qubits", sa.Integer(), nullable=False),
        sa.Column("couplers", sa.Integer(), nullable=False),
        sa.Column("graph", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("qubits > 0 AND couplers > 0", name=op.f("ck_chips_sizes_positive")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_chips")),
        sa.UniqueConstraint("solver", "name", "graph_id", name=op.f("uq_chips_solver_name_graph_id")),
    )


def _create_embeddings() -> None:
    op.create_table(
        "embeddings",
        sa.Column("id", _key(), nullable=False),
        sa.Column("graph_sha256", sa.String(length=64), nullable=False),
        sa.Column("chip_id", _key(), nullable=False),
        sa.Column("tiles_wanted", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("units", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("tiling", sa.LargeBinary(), nullable=True),
        sa.Column("tiles", sa.Integer(), nullable=True),
        sa.Column("qubits", sa.Integer(), nullable=True),
        sa.Column("longest_chain", sa.Integer(), nullable=True),
        sa.Column("seconds", sa.Double(), nullable=True),
        sa.Column("seed", sa.BigInteger(), nullable=True),
        sa.Column("method", sa.String(length=32), nullable=True),
        sa.Column("repaired_from", _key(), nullable=True),
        sa.Column("progress", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("fence", sa.Integer(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("tiles_wanted >= 0 AND units > 0", name=op.f("ck_embeddings_sizes_positive")),
        sa.CheckConstraint(
            "state <> 'searching' OR lease_until IS NOT NULL", name=op.f("ck_embeddings_searching_has_lease")
        ),
        sa.CheckConstraint(
            "state <> 'ready' OR (tiling IS NOT NULL AND tiles > 0 AND qubits > 0 AND longest_chain > 0 "
            "AND seconds IS NOT NULL AND method IS NOT NULL)",
            name=op.f("ck_embeddings_ready_has_tiling"),
        ),
        sa.CheckConstraint(
            "state <> 'failed' OR error IS NOT NULL", name=op.f("ck_embeddings_failed_says_why")
        ),
        sa.CheckConstraint(
            "state IN ('searching', 'ready', 'failed')", name=op.f("ck_embeddings_state_known")
        ),
        sa.ForeignKeyConstraint(["chip_id"], ["chips.id"], name=op.f("fk_embeddings_chip_id")),
        sa.ForeignKeyConstraint(
            ["repaired_from"], ["embeddings.id"], name=op.f("fk_embeddings_repaired_from")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_embeddings")),
        sa.UniqueConstraint(
            "graph_sha256",
            "chip_id",
            "tiles_wanted",
            name=op.f("uq_embeddings_graph_sha256_chip_id_tiles_wanted"),
        ),
    )


def _create_preparations() -> None:
    op.create_table(
        "preparations",
        sa.Column("id", _key(), nullable=False),
        sa.Column("network_id", _key(), nullable=False),
        sa.Column("solver", sa.String(length=128), nullable=False),
        sa.Column("parameters", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("images", sa.Integer(), nullable=False),
        sa.Column("batch_size", sa.Integer(), nullable=False),
        sa.Column("time_limit_s", sa.Double(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("embedding_id", _key(), nullable=True),
        sa.Column("plan", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("progress", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("fence", sa.Integer(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("dispatched_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "images >= 0 AND batch_size > 0 AND time_limit_s > 0",
            name=op.f("ck_preparations_sizes_positive"),
        ),
        sa.CheckConstraint(
            "state <> 'preparing' OR lease_until IS NOT NULL",
            name=op.f("ck_preparations_preparing_has_lease"),
        ),
        sa.CheckConstraint(
            "state <> 'ready' OR (plan IS NOT NULL AND finished_at IS NOT NULL)",
            name=op.f("ck_preparations_ready_has_plan"),
        ),
        sa.CheckConstraint(
            "state <> 'failed' OR error IS NOT NULL", name=op.f("ck_preparations_failed_says_why")
        ),
        sa.CheckConstraint(
            "state IN ('queued', 'preparing', 'ready', 'failed')", name=op.f("ck_preparations_state_known")
        ),
        sa.ForeignKeyConstraint(["network_id"], ["networks.id"], name=op.f("fk_preparations_network_id")),
        sa.ForeignKeyConstraint(
            ["embedding_id"], ["embeddings.id"], name=op.f("fk_preparations_embedding_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_preparations")),
    )
    op.create_index(op.f("ix_preparations_state"), "preparations", ["state"], unique=False)


def _create_old_embeddings() -> None:
    op.create_table(
        "embeddings",
        sa.Column("id", _key(), nullable=False),
        sa.Column("graph_sha256", sa.String(length=64), nullable=False),
        sa.Column("solver", sa.String(length=128), nullable=False),
        sa.Column("graph_id", sa.String(length=64), nullable=False),
        sa.Column("tiles", sa.Integer(), nullable=False),
        sa.Column("chains", sa.LargeBinary(), nullable=False),
        sa.Column("qubits", sa.Integer(), nullable=False),
        sa.Column("longest_chain", sa.Integer(), nullable=False),
        sa.Column("seconds", sa.Double(), nullable=False),
        sa.Column("seed", sa.BigInteger(), nullable=True),
        sa.Column("method", sa.String(length=32), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "tiles > 0 AND qubits > 0 AND longest_chain > 0", name=op.f("ck_embeddings_sizes_positive")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_embeddings")),
        sa.UniqueConstraint(
            "graph_sha256",
            "solver",
            "graph_id",
            "tiles",
            name=op.f("uq_embeddings_graph_sha256_solver_graph_id_tiles"),
        ),
    )


def _native(kind: str) -> str:
    """Return a column type as this database spells it."""
    sqlite = {"FLOAT8": "DOUBLE", "BIGKEY": "INTEGER", "BYTES": "BLOB"}
    other = {"FLOAT8": "DOUBLE PRECISION", "BIGKEY": "BIGINT", "BYTES": "BYTEA"}
    return (sqlite if op.get_bind().dialect.name == "sqlite" else other).get(kind, kind)


def _key() -> sa.types.TypeEngine[int]:
    return sa.BigInteger().with_variant(sa.Integer(), "sqlite")
