"""All tables of the first release."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    _create_embeddings()
    _create_events()
    _create_leaders()
    _create_training_sets()
    _create_networks()
    _create_calibrations()
    _create_runs()
    _create_batches()
    _create_classifications()
    _create_problems()
    _create_sample_sets()


def downgrade() -> None:
    op.drop_table("sample_sets")
    with op.batch_alter_table("problems", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_problems_state"))

    op.drop_table("problems")
    op.drop_table("classifications")
    with op.batch_alter_table("batches", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_batches_state_dispatched_at"))

    op.drop_table("batches")
    with op.batch_alter_table("runs", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_runs_state_priority"))
        batch_op.drop_index(batch_op.f("ix_runs_network_id"))

    op.drop_table("runs")
    with op.batch_alter_table("calibrations", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_calibrations_network_id_solver_graph_id"))

    op.drop_table("calibrations")
    with op.batch_alter_table("networks", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_networks_state"))

    op.drop_table("networks")
    op.drop_table("training_sets")
    op.drop_table("leaders")
    with op.batch_alter_table("events", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_events_subject_row"))

    op.drop_table("events")
    op.drop_table("embeddings")


def _create_embeddings() -> None:
    op.create_table(
        "embeddings",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
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


def _create_events() -> None:
    op.create_table(
        "events",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("subject", sa.String(length=32), nullable=False),
        sa.Column("row", sa.BigInteger(), nullable=False),
        sa.Column("source", sa.String(length=16), nullable=True),
        sa.Column("target", sa.String(length=16), nullable=False),
        sa.Column("why", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_events")),
    )
    with op.batch_alter_table("events", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_events_subject_row"), ["subject", "row"], unique=False)


def _create_leaders() -> None:
    op.create_table(
        "leaders",
        sa.Column("role", sa.String(length=32), nullable=False),
        sa.Column("holder", sa.String(length=128), nullable=False),
        sa.Column("until", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("role", name=op.f("pk_leaders")),
    )


def _create_training_sets() -> None:
    op.create_table(
        "training_sets",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("height", sa.Integer(), nullable=False),
        sa.Column("width", sa.Integer(), nullable=False),
        sa.Column("images", sa.LargeBinary(), nullable=False),
        sa.Column("labels", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "count > 0 AND height > 0 AND width > 0", name=op.f("ck_training_sets_sizes_positive")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_training_sets")),
        sa.UniqueConstraint("sha256", name=op.f("uq_training_sets_sha256")),
    )


def _create_networks() -> None:
    op.create_table(
        "networks",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("content_sha256", sa.String(length=64), nullable=False),
        sa.Column("architecture", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("height", sa.Integer(), nullable=False),
        sa.Column("width", sa.Integer(), nullable=False),
        sa.Column("classes", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("training", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("training_set_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("weights", sa.LargeBinary(), nullable=True),
        sa.Column("weights_sha256", sa.String(length=64), nullable=True),
        sa.Column("metrics", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("fence", sa.Integer(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("dispatched_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "state <> 'failed' OR error IS NOT NULL", name=op.f("ck_networks_failed_says_why")
        ),
        sa.CheckConstraint(
            "state <> 'ready' OR (weights IS NOT NULL AND finished_at IS NOT NULL)",
            name=op.f("ck_networks_ready_has_weights"),
        ),
        sa.CheckConstraint(
            "state <> 'training' OR lease_until IS NOT NULL", name=op.f("ck_networks_training_has_lease")
        ),
        sa.CheckConstraint(
            "state IN ('queued', 'training', 'ready', 'failed')", name=op.f("ck_networks_state_known")
        ),
        sa.ForeignKeyConstraint(
            ["training_set_id"], ["training_sets.id"], name=op.f("fk_networks_training_set_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_networks")),
        sa.UniqueConstraint("content_sha256", name=op.f("uq_networks_content_sha256")),
        sa.UniqueConstraint("name", "version", name=op.f("uq_networks_name_version")),
    )
    with op.batch_alter_table("networks", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_networks_state"), ["state"], unique=False)


def _create_calibrations() -> None:
    op.create_table(
        "calibrations",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("network_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("solver", sa.String(length=128), nullable=False),
        sa.Column("graph_id", sa.String(length=64), nullable=False),
        sa.Column("parameters", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("accuracy", sa.Double(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["network_id"], ["networks.id"], name=op.f("fk_calibrations_network_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_calibrations")),
    )
    with op.batch_alter_table("calibrations", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_calibrations_network_id_solver_graph_id"),
            ["network_id", "solver", "graph_id"],
            unique=False,
        )


def _create_runs() -> None:
    op.create_table(
        "runs",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("network_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("solver", sa.String(length=128), nullable=False),
        sa.Column("parameters", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("idempotency_key", sa.String(length=255), nullable=True),
        sa.Column("content_sha256", sa.String(length=64), nullable=False),
        sa.Column("window", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("budget_us", sa.BigInteger(), nullable=True),
        sa.Column("images", sa.Integer(), nullable=False),
        sa.Column("batches", sa.Integer(), nullable=False),
        sa.Column("labelled", sa.Boolean(), nullable=False),
        sa.Column("batches_scored", sa.Integer(), nullable=False),
        sa.Column("batches_failed", sa.Integer(), nullable=False),
        sa.Column("statistics", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("dispatched_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "(state IN ('done', 'failed', 'cancelled')) = (finished_at IS NOT NULL)",
            name=op.f("ck_runs_finished_has_time"),
        ),
        sa.CheckConstraint(
            "state <> 'done' OR statistics IS NOT NULL", name=op.f("ck_runs_done_has_statistics")
        ),
        sa.CheckConstraint(
            "state IN ('queued', 'running', 'aggregating', 'done', 'failed', 'cancelled', 'paused')",
            name=op.f("ck_runs_state_known"),
        ),
        sa.CheckConstraint("batches_scored + batches_failed <= batches", name=op.f("ck_runs_counts_bounded")),
        sa.CheckConstraint("images > 0 AND batches > 0", name=op.f("ck_runs_sizes_positive")),
        sa.ForeignKeyConstraint(["network_id"], ["networks.id"], name=op.f("fk_runs_network_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_runs")),
        sa.UniqueConstraint("idempotency_key", name=op.f("uq_runs_idempotency_key")),
    )
    with op.batch_alter_table("runs", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_runs_network_id"), ["network_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_runs_state_priority"), ["state", "priority"], unique=False)


def _create_batches() -> None:
    op.create_table(
        "batches",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("run_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("ordinal", sa.Integer(), nullable=False),
        sa.Column("first_image", sa.Integer(), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("height", sa.Integer(), nullable=False),
        sa.Column("width", sa.Integer(), nullable=False),
        sa.Column("images", sa.LargeBinary(), nullable=False),
        sa.Column("images_sha256", sa.String(length=64), nullable=False),
        sa.Column("labels", sa.LargeBinary(), nullable=True),
        sa.Column("sources", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("fence", sa.Integer(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("dispatched_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("sampling_us", sa.BigInteger(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("sampled_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("scored_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "(state = 'scored') = (scored_at IS NOT NULL)", name=op.f("ck_batches_scored_has_time")
        ),
        sa.CheckConstraint("state <> 'failed' OR error IS NOT NULL", name=op.f("ck_batches_failed_says_why")),
        sa.CheckConstraint(
            "state <> 'sampling' OR lease_until IS NOT NULL", name=op.f("ck_batches_sampling_has_lease")
        ),
        sa.CheckConstraint(
            "state IN ('pending', 'sampling', 'sampled', 'scored', 'failed')",
            name=op.f("ck_batches_state_known"),
        ),
        sa.CheckConstraint(
            "state NOT IN ('sampled', 'scored') OR sampled_at IS NOT NULL",
            name=op.f("ck_batches_sampled_has_time"),
        ),
        sa.CheckConstraint("count > 0 AND height > 0 AND width > 0", name=op.f("ck_batches_sizes_positive")),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_batches_run_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_batches")),
        sa.UniqueConstraint("run_id", "ordinal", name=op.f("uq_batches_run_id_ordinal")),
    )
    with op.batch_alter_table("batches", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_batches_state_dispatched_at"), ["state", "dispatched_at"], unique=False
        )


def _create_classifications() -> None:
    op.create_table(
        "classifications",
        sa.Column("run_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("image", sa.Integer(), nullable=False),
        sa.Column("predicted", sa.Integer(), nullable=True),
        sa.Column("label", sa.Integer(), nullable=True),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("scores", sa.LargeBinary(), nullable=False),
        sa.Column("margin", sa.Double(), nullable=False),
        sa.Column("one_hot_fraction", sa.Double(), nullable=False),
        sa.Column("chain_break_fraction", sa.Double(), nullable=True),
        sa.Column("lowest_energy", sa.Double(), nullable=False),
        sa.CheckConstraint(
            "(status = 'undecided') = (predicted IS NULL)",
            name=op.f("ck_classifications_undecided_has_no_class"),
        ),
        sa.CheckConstraint(
            "status IN ('decided', 'tied', 'undecided')", name=op.f("ck_classifications_status_known")
        ),
        sa.ForeignKeyConstraint(
            ["run_id"], ["runs.id"], name=op.f("fk_classifications_run_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("run_id", "image", name=op.f("pk_classifications")),
    )


def _create_problems() -> None:
    op.create_table(
        "problems",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("batch_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("ordinal", sa.Integer(), nullable=False),
        sa.Column("first_image", sa.Integer(), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("label", sa.String(length=64), nullable=False),
        sa.Column("sapi_id", sa.String(length=64), nullable=True),
        sa.Column("embedding_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("graph_id", sa.String(length=64), nullable=True),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("estimated_us", sa.BigInteger(), nullable=True),
        sa.Column("charged_us", sa.BigInteger(), nullable=True),
        sa.Column("timing", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("reserved_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("sending_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("sent_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("answered_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "(state = 'answered') = (answered_at IS NOT NULL)", name=op.f("ck_problems_answered_has_time")
        ),
        sa.CheckConstraint(
            "state <> 'sending' OR sending_at IS NOT NULL", name=op.f("ck_problems_sending_has_time")
        ),
        sa.CheckConstraint("state <> 'sent' OR sapi_id IS NOT NULL", name=op.f("ck_problems_sent_has_id")),
        sa.CheckConstraint(
            "state IN ('reserved', 'sending', 'sent', 'answered', 'failed', 'cancelled')",
            name=op.f("ck_problems_state_known"),
        ),
        sa.CheckConstraint("count > 0", name=op.f("ck_problems_sizes_positive")),
        sa.ForeignKeyConstraint(
            ["batch_id"], ["batches.id"], name=op.f("fk_problems_batch_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["embedding_id"], ["embeddings.id"], name=op.f("fk_problems_embedding_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_problems")),
        sa.UniqueConstraint("batch_id", "ordinal", name=op.f("uq_problems_batch_id_ordinal")),
        sa.UniqueConstraint("label", name=op.f("uq_problems_label")),
        sa.UniqueConstraint("sapi_id", name=op.f("uq_problems_sapi_id")),
    )
    with op.batch_alter_table("problems", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_problems_state"), ["state"], unique=False)


def _create_sample_sets() -> None:
    op.create_table(
        "sample_sets",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("problem_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("codec", sa.Integer(), nullable=False),
        sa.Column("reads", sa.Integer(), nullable=False),
        sa.Column("variables", sa.Integer(), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["problem_id"], ["problems.id"], name=op.f("fk_sample_sets_problem_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sample_sets")),
        sa.UniqueConstraint("problem_id", name=op.f("uq_sample_sets_problem_id")),
    )
