"""The tables. SQL is the truth: every unit of work is a row with a state.

Times are timezone-aware UTC. Units stand in the names (`charged_us` is microseconds). `fence`
counts the claims of a row; whoever holds an older fence has lost its lease. `dispatched_at` says
when a hint for the row was last sent to the broker.
"""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ForeignKey,
    Index,
    String,
    Text,
    UniqueConstraint,
    false,
)
from sqlalchemy.orm import Mapped, mapped_column

from schema.states import BatchState, CalibrationState, NetworkState, PausedBy, ProblemState, RunState
from schema.tables.columns import Base, Key, known

REVISION = "0009"  # the migration that makes exactly these tables


class Network(Base):
    """A network: its architecture, and once it is ready its weights. Retraining makes a new version."""

    __tablename__ = "networks"

    id: Mapped[int] = mapped_column(Key, primary_key=True)
    name: Mapped[str] = mapped_column(String(64))
    version: Mapped[int]
    state: Mapped[NetworkState]
    content_sha256: Mapped[str] = mapped_column(
        String(64), unique=True
    )  # of everything that decides the weights
    architecture: Mapped[dict[str, Any]]
    height: Mapped[int]
    width: Mapped[int]
    classes: Mapped[list[str]]
    training: Mapped[dict[str, Any]]  # transfer, seed, epochs
    training_set_id: Mapped[int | None] = mapped_column(ForeignKey("training_sets.id"))
    weights: Mapped[bytes | None]  # safetensors
    weights_sha256: Mapped[str | None] = mapped_column(String(64))
    metrics: Mapped[dict[str, Any] | None]
    error: Mapped[str | None] = mapped_column(Text)
    fence: Mapped[int] = mapped_column(default=0)
    attempts: Mapped[int] = mapped_column(default=0)
    lease_until: Mapped[datetime | None]
    dispatched_at: Mapped[datetime | None]
    created_at: Mapped[datetime]
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]

    __table_args__ = (
        UniqueConstraint("name", "version"),
        Index(None, "state"),
        known(NetworkState),
        CheckConstraint(
            "state <> 'ready' OR (weights IS NOT NULL AND finished_at IS NOT NULL)",
            name="ready_has_weights",
        ),
        CheckConstraint("state <> 'training' OR lease_until IS NOT NULL", name="training_has_lease"),
        CheckConstraint("state <> 'failed' OR error IS NOT NULL", name="failed_says_why"),
    )


class Calibration(Base):
    """Sampling parameters fitted for one network on one solver graph, by runs over a validation set."""

    __tablename__ = "calibrations"

    id: Mapped[int] = mapped_column(Key, primary_key=True)
    network_id: Mapped[int] = mapped_column(ForeignKey("networks.id"))
    solver: Mapped[str] = mapped_column(String(128))
    graph_id: Mapped[str] = mapped_column(String(64))  # empty for a solver without a graph
    visible: Mapped[str] = mapped_column(String(16))
    state: Mapped[CalibrationState]
    name: Mapped[str] = mapped_column(Text)  # of the validation set
    images: Mapped[int]
    image_digests: Mapped[bytes]  # (images, 32) uint8: SHA-256 of each image's pixels
    parameters: Mapped[dict[str, Any] | None]  # the fitted ones
    accuracy: Mapped[float | None]  # theirs, on the validation set
    measured: Mapped[dict[str, Any] | None]  # every combination that was compared
    error: Mapped[str | None] = mapped_column(Text)
    fence: Mapped[int] = mapped_column(default=0)
    attempts: Mapped[int] = mapped_column(default=0)
    lease_until: Mapped[datetime | None]
    dispatched_at: Mapped[datetime | None]
    created_at: Mapped[datetime]
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]

    __table_args__ = (
        Index(None, "network_id", "solver", "graph_id"),
        Index(None, "state"),
        known(CalibrationState),
        CheckConstraint("images > 0", name="sizes_positive"),
        CheckConstraint("state <> 'fitting' OR lease_until IS NOT NULL", name="fitting_has_lease"),
        CheckConstraint(
            "state <> 'ready' OR "
            "(parameters IS NOT NULL AND accuracy IS NOT NULL AND finished_at IS NOT NULL)",
            name="ready_has_parameters",
        ),
        CheckConstraint("state <> 'failed' OR error IS NOT NULL", name="failed_says_why"),
    )


class Run(Base):
    """One data set to classify: what a user waits for."""

    __tablename__ = "runs"

    id: Mapped[int] = mapped_column(Key, primary_key=True)
    name: Mapped[str] = mapped_column(Text)
    network_id: Mapped[int] = mapped_column(ForeignKey("networks.id"))
    solver: Mapped[str] = mapped_column(String(128))
    parameters: Mapped[dict[str, Any]]  # reads, seed, transfer, visible, rule, ...
    state: Mapped[RunState]
    priority: Mapped[int] = mapped_column(default=0)  # higher first
    idempotency_key: Mapped[str | None] = mapped_column(String(255), unique=True)
    content_sha256: Mapped[str] = mapped_column(String(64))  # of everything that decides the result
    window: Mapped[dict[str, Any] | None]  # see `schema.calendar.windows`; None: always open
    opened_until: Mapped[datetime | None]  # a person opened it before its time: until the next window opens
    deadline_at: Mapped[datetime | None]
    budget_us: Mapped[int | None] = mapped_column(BigInteger)  # QPU time that it may be charged
    paused_by: Mapped[PausedBy | None]  # while it is paused
    pause_reason: Mapped[str | None] = mapped_column(Text)
    paused_at: Mapped[datetime | None]
    # Whose raw samples it scores again; that run drew them itself.
    rescored_from: Mapped[int | None] = mapped_column(ForeignKey("runs.id"))
    calibrated_by: Mapped[int | None] = mapped_column(ForeignKey("calibrations.id"))  # its parameters' source
    calibrates: Mapped[int | None] = mapped_column(ForeignKey("calibrations.id"))  # what it was made for
    images: Mapped[int]
    batches: Mapped[int]
    labelled: Mapped[bool]
    batches_scored: Mapped[int] = mapped_column(default=0)
    batches_failed: Mapped[int] = mapped_column(default=0)
    statistics: Mapped[dict[str, Any] | None]
    error: Mapped[str | None] = mapped_column(Text)
    dispatched_at: Mapped[datetime | None]
    created_at: Mapped[datetime]
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]

    __table_args__ = (
        Index(None, "state", "priority"),
        Index(None, "network_id"),
        Index(None, "finished_at"),
        known(RunState),
        CheckConstraint("images > 0 AND batches > 0", name="sizes_positive"),
        CheckConstraint("batches_scored + batches_failed <= batches", name="counts_bounded"),
        CheckConstraint("state <> 'done' OR statistics IS NOT NULL", name="done_has_statistics"),
        CheckConstraint(
            "(state IN ('done', 'failed', 'cancelled')) = (finished_at IS NOT NULL)", name="finished_has_time"
        ),
    )


class Batch(Base):
    """Images that one worker samples in one go; their bytes are in `BatchImages`."""

    __tablename__ = "batches"

    id: Mapped[int] = mapped_column(Key, primary_key=True)
    run_id: Mapped[int] = mapped_column(ForeignKey("runs.id", ondelete="CASCADE"))
    ordinal: Mapped[int]
    first_image: Mapped[int]  # index of its first image within the run
    count: Mapped[int]
    height: Mapped[int]
    width: Mapped[int]
    state: Mapped[BatchState]
    fence: Mapped[int] = mapped_column(default=0)
    attempts: Mapped[int] = mapped_column(default=0)
    error: Mapped[str | None] = mapped_column(Text)
    due_at: Mapped[datetime]
    lease_until: Mapped[datetime | None]
    dispatched_at: Mapped[datetime | None]
    sampling_us: Mapped[int | None] = mapped_column(BigInteger)  # time inside the annealer
    embedding_id: Mapped[int | None] = mapped_column(ForeignKey("embeddings.id"))
    embedding_s: Mapped[float | None]  # seconds of the search that it had to wait for; 0: it was stored
    created_at: Mapped[datetime]
    started_at: Mapped[datetime | None]
    sampled_at: Mapped[datetime | None]
    scored_at: Mapped[datetime | None]

    __table_args__ = (
        UniqueConstraint("run_id", "ordinal"),
        Index(None, "state", "dispatched_at"),
        # Those that were begun and left are taken first.
        Index(None, "run_id", "state", "fence"),
        # All that the choice of the next batch looks at.
        Index(None, "run_id", "state", "ordinal", "due_at", "dispatched_at"),
        known(BatchState),
        CheckConstraint("count > 0 AND height > 0 AND width > 0", name="sizes_positive"),
        CheckConstraint("state <> 'sampling' OR lease_until IS NOT NULL", name="sampling_has_lease"),
        CheckConstraint(
            "state NOT IN ('sampled', 'scored') OR sampled_at IS NOT NULL", name="sampled_has_time"
        ),
        CheckConstraint("(state = 'scored') = (scored_at IS NOT NULL)", name="scored_has_time"),
        CheckConstraint("state <> 'failed' OR error IS NOT NULL", name="failed_says_why"),
    )


class Problem(Base):
    """The ledger: one submission to a solver, and what is known about its cost."""

    __tablename__ = "problems"

    id: Mapped[int] = mapped_column(Key, primary_key=True)
    batch_id: Mapped[int] = mapped_column(ForeignKey("batches.id", ondelete="CASCADE"))
    ordinal: Mapped[int]
    first_image: Mapped[int]  # index within the batch
    count: Mapped[int]  # images it carries
    label: Mapped[str] = mapped_column(String(64), unique=True)
    sapi_id: Mapped[str | None] = mapped_column(String(64), unique=True)
    embedding_id: Mapped[int | None] = mapped_column(ForeignKey("embeddings.id"))
    graph_id: Mapped[str | None] = mapped_column(String(64))
    state: Mapped[ProblemState]
    scale: Mapped[float | None]  # what h and J were multiplied by
    chain_strength: Mapped[float | None]  # in the model's units, before that
    times_sent: Mapped[int] = mapped_column(server_default="0")
    adopted: Mapped[bool] = mapped_column(server_default=false())  # an unknown outcome, found by its label
    duplicates: Mapped[int] = mapped_column(server_default="0")  # further problems with its label
    wasted_us: Mapped[int] = mapped_column(BigInteger, server_default="0")  # what those were charged
    chain_breaks: Mapped[
        bytes | None
    ]  # (images, units): share of reads, each chain; see `schema.codecs.arrays`
    estimated_us: Mapped[int | None] = mapped_column(BigInteger)
    charged_us: Mapped[int | None] = mapped_column(BigInteger)
    timing: Mapped[dict[str, Any] | None]
    error: Mapped[str | None] = mapped_column(Text)
    reserved_at: Mapped[datetime]
    sending_at: Mapped[datetime | None]
    sent_at: Mapped[datetime | None]
    answered_at: Mapped[datetime | None]

    __table_args__ = (
        UniqueConstraint("batch_id", "ordinal"),
        Index(None, "state"),
        Index(None, "sending_at"),
        known(ProblemState),
        CheckConstraint("count > 0", name="sizes_positive"),
        CheckConstraint("state <> 'sending' OR sending_at IS NOT NULL", name="sending_has_time"),
        CheckConstraint("state <> 'sent' OR sapi_id IS NOT NULL", name="sent_has_id"),
        CheckConstraint("(state = 'answered') = (answered_at IS NOT NULL)", name="answered_has_time"),
    )


class Classification(Base):
    """The consensus for one image of a run."""

    __tablename__ = "classifications"

    run_id: Mapped[int] = mapped_column(ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True)
    image: Mapped[int] = mapped_column(primary_key=True)  # index within the run
    predicted: Mapped[int | None]
    label: Mapped[int | None]
    status: Mapped[str] = mapped_column(String(16))  # decided, tied or undecided
    scores: Mapped[bytes]  # (classes,) little-endian float32, each in [0, 1]; CRC-32
    margin: Mapped[float]
    one_hot_fraction: Mapped[float]
    chain_break_fraction: Mapped[float | None]
    lowest_energy: Mapped[float]

    __table_args__ = (
        CheckConstraint("status IN ('decided', 'tied', 'undecided')", name="status_known"),
        CheckConstraint("(status = 'undecided') = (predicted IS NULL)", name="undecided_has_no_class"),
    )


class Event(Base):
    """What happened to which row, when and why. Append-only."""

    __tablename__ = "events"

    id: Mapped[int] = mapped_column(Key, primary_key=True)
    at: Mapped[datetime]
    subject: Mapped[str] = mapped_column(String(32))  # a table's name
    row: Mapped[int] = mapped_column(BigInteger)
    source: Mapped[str | None] = mapped_column(String(16))  # state before
    target: Mapped[str] = mapped_column(String(16))  # state after
    why: Mapped[str | None] = mapped_column(Text)

    __table_args__ = (Index(None, "subject", "row"),)


class Spending(Base):
    """QPU time of the problems that a run submitted on one day (UTC); see `worker.records.spending`."""

    __tablename__ = "spendings"

    run_id: Mapped[int] = mapped_column(ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True)
    day: Mapped[date] = mapped_column(primary_key=True)
    spent_us: Mapped[int] = mapped_column(BigInteger)

    __table_args__ = (Index(None, "day"),)


class Breaker(Base):
    """A solver that has failed lately; see `worker.scheduling.circuit_breaker`. None where all is well."""

    __tablename__ = "breakers"

    solver: Mapped[str] = mapped_column(String(600), primary_key=True)
    failures: Mapped[int]  # one after another
    error: Mapped[str] = mapped_column(Text)  # the latest
    since: Mapped[datetime]
    retry_at: Mapped[datetime]  # before, nobody asks it anything
    probe: Mapped[int | None] = mapped_column(BigInteger)  # the batch that asks next

    __table_args__ = (CheckConstraint("failures > 0", name="has_failed"),)


class Leader(Base):
    """Which process of a kind leads, until when."""

    __tablename__ = "leaders"

    role: Mapped[str] = mapped_column(String(32), primary_key=True)
    holder: Mapped[str] = mapped_column(String(128))
    until: Mapped[datetime]
