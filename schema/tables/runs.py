"""Tables of networks and runs. SQL is the truth: every unit of work is a row with a state.

Times are timezone-aware UTC. Names hold the units (`charged_us` is microseconds). `dispatched_at` is when a
hint for the row was last sent to the broker.
"""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ColumnElement,
    ForeignKey,
    Index,
    String,
    Text,
    UniqueConstraint,
    and_,
    false,
    or_,
    select,
)
from sqlalchemy.orm import Mapped, mapped_column

from schema.states import (
    FINISHED_RUNS,
    BatchState,
    IntakeState,
    NetworkState,
    PausedBy,
    ProblemState,
    RunState,
)
from schema.tables.columns import Base, Key, Leased, known

REVISION = "0024"  # the migration that creates exactly these tables


class Network(Leased, Base):
    """A network: its architecture, and its weights once it is ready. Retraining creates a new version."""

    __tablename__ = "networks"

    id: Mapped[int] = mapped_column(Key, primary_key=True)
    name: Mapped[str] = mapped_column(String(64))
    version: Mapped[int]  # 1, 2, ... for each name
    state: Mapped[NetworkState]
    # Of everything that decides the weights.
    content_sha256: Mapped[str] = mapped_column(String(64), unique=True)
    architecture: Mapped[dict[str, Any]]  # see `schema.network.architecture`
    shape: Mapped[str] = mapped_column(String(32))  # of an image: see `schema.shapes.ImageShape`
    dtype: Mapped[str] = mapped_column(String(16))  # of its values: uint8 or float32
    classes: Mapped[list[str]]  # their names
    training: Mapped[dict[str, Any]]  # transfer, seed, epochs, origin
    # None: imported or shipped.
    training_set_id: Mapped[int | None] = mapped_column(ForeignKey("training_sets.id"))
    weights: Mapped[bytes | None]  # safetensors
    weights_sha256: Mapped[str | None] = mapped_column(String(64))
    # Chosen by a user for images of its size.
    is_default: Mapped[bool] = mapped_column(default=False, server_default=false())
    metrics: Mapped[dict[str, Any] | None]  # accuracies of every epoch, or those that were imported
    dispatched_at: Mapped[datetime | None]  # of the latest hint
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


class Run(Base):
    """One data set to classify, the unit that a user enqueues."""

    __tablename__ = "runs"

    id: Mapped[int] = mapped_column(Key, primary_key=True)
    name: Mapped[str] = mapped_column(Text)  # of the data set
    data: Mapped[dict[str, Any] | None]  # where its images came from, as they were named
    network_id: Mapped[int] = mapped_column(ForeignKey("networks.id"))
    network_reason: Mapped[str | None] = mapped_column(Text)  # why that network was chosen
    solver: Mapped[str] = mapped_column(String(128))  # local, exact, emulator or dwave
    parameters: Mapped[dict[str, Any]]  # see `schema.parameters.Parameters`
    round: Mapped[int] = mapped_column(server_default="1")  # of reads, that is in progress
    reads_reason: Mapped[str | None] = mapped_column(Text)  # why its rounds have these numbers of reads
    # A target that was asked for, and what was expected of the parameters that were chosen for it.
    promise: Mapped[dict[str, Any] | None]
    state: Mapped[RunState]
    priority: Mapped[int] = mapped_column(default=0)  # higher first
    idempotency_key: Mapped[str | None] = mapped_column(String(255), unique=True)
    content_sha256: Mapped[str] = mapped_column(String(64))  # of everything that decides the result
    window: Mapped[dict[str, Any] | None]  # see `schema.calendar.windows`; None: always open
    opened_until: Mapped[datetime | None]  # a user opened it early: until the next window opens
    deadline_at: Mapped[datetime | None]  # nothing is submitted afterwards
    budget_us: Mapped[int | None] = mapped_column(BigInteger)  # the most QPU time that it may be charged
    paused_by: Mapped[PausedBy | None]  # this and the next two: only while it is paused
    pause_reason: Mapped[str | None] = mapped_column(Text)
    paused_at: Mapped[datetime | None]
    # The run whose raw samples it scores again; that run sampled them.
    rescored_from: Mapped[int | None] = mapped_column(ForeignKey("runs.id"))
    calibrated_by: Mapped[int | None] = mapped_column(
        ForeignKey("calibrations.id")
    )  # source of its parameters
    calibrates: Mapped[int | None] = mapped_column(ForeignKey("calibrations.id"))  # that it samples for
    # Name and working graph of the QPU that its first problem was sent to; it does not change automatically.
    qpu: Mapped[str | None] = mapped_column(String(128))
    graph_id: Mapped[str | None] = mapped_column(String(64))
    images: Mapped[int]  # number
    batches: Mapped[int]  # number
    labelled: Mapped[bool]  # its images have labels, so that it has an accuracy
    batches_scored: Mapped[int] = mapped_column(default=0)
    batches_failed: Mapped[int] = mapped_column(default=0)
    statistics: Mapped[dict[str, Any] | None]  # see `worker.compute.summary`
    error: Mapped[str | None] = mapped_column(Text)
    dispatched_at: Mapped[datetime | None]  # of the latest hint
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


class Intake(Base):
    """How far the source of a run is read. It has the id of its run; runs written at once have none.

    Each transaction adds whole batches to the run, and moves its number of images on from the number that
    the reader has seen: of two readers, one fails.
    """

    __tablename__ = "intakes"

    id: Mapped[int] = mapped_column(
        ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True, autoincrement=False, type_=Key
    )
    state: Mapped[IntakeState]
    files: Mapped[list[dict[str, Any]]]  # that are read: path, bytes and time of the latest change
    batch_size: Mapped[int]  # images of each batch but the last of a file
    by_reference: Mapped[bool] = mapped_column(server_default=false())  # batches name rows of the files
    background: Mapped[bool] = mapped_column(server_default=false())  # processes of the service read it on
    source: Mapped[dict[str, Any] | None]  # where uploaded images are; None: as the run says
    reader: Mapped[str | None] = mapped_column(String(160))  # the process that read it last
    leased_until: Mapped[datetime | None]  # by the reader; then another one may read on
    attempts: Mapped[int] = mapped_column(server_default="0")  # to read on, since batches were added last
    rows: Mapped[int] = mapped_column(BigInteger)  # of the source, that are read; some may have no image
    total: Mapped[int | None] = mapped_column(BigInteger)  # rows that the source announces
    error: Mapped[str | None] = mapped_column(Text)  # why it stopped
    read_at: Mapped[datetime]  # of the latest batches
    finished_at: Mapped[datetime | None]

    __table_args__ = (
        known(IntakeState),
        CheckConstraint("batch_size > 0", name="sizes_positive"),
        CheckConstraint("(state = 'stopped') = (error IS NOT NULL)", name="stopped_says_why"),
        CheckConstraint("(state = 'ended') = (finished_at IS NOT NULL)", name="ended_has_time"),
    )


def is_read() -> ColumnElement[bool]:
    """Build the condition that no batch is added to a run any more, so that it can end.

    That of a run whose deadline has passed is not waited for.
    """
    unread = select(Intake.id).where(Intake.id == Run.id, Intake.state != IntakeState.ENDED)
    return or_(~unread.exists(), Run.paused_by == PausedBy.DEADLINE)


def is_being_read() -> ColumnElement[bool]:
    """Build the condition that a run, joined with its intake, still gets images of its source."""
    in_time = or_(Run.paused_by.is_(None), Run.paused_by != PausedBy.DEADLINE)
    return and_(Intake.state != IntakeState.ENDED, Run.state.not_in(FINISHED_RUNS), in_time)


class RunTag(Base):
    """A word by which a user finds runs again."""

    __tablename__ = "run_tags"

    run_id: Mapped[int] = mapped_column(ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True)
    tag: Mapped[str] = mapped_column(String(64), primary_key=True)

    __table_args__ = (Index(None, "tag", "run_id"),)


class Batch(Leased, Base):
    """Images of a run that one worker samples under one lease; their bytes are in `BatchImages`."""

    __tablename__ = "batches"

    id: Mapped[int] = mapped_column(Key, primary_key=True)
    run_id: Mapped[int] = mapped_column(ForeignKey("runs.id", ondelete="CASCADE"))
    ordinal: Mapped[int]  # within the run, from 0
    # Index of its first image within the run. Images that are sent again are numbered on after the last one.
    first_image: Mapped[int]
    count: Mapped[int]  # of images
    shape: Mapped[str] = mapped_column(String(32))  # of an image: see `schema.shapes.ImageShape`
    dtype: Mapped[str] = mapped_column(String(16))  # of its values: uint8 or float32
    round: Mapped[int] = mapped_column(server_default="1")  # of reads; later ones send some images again
    reads: Mapped[int | None]  # of each image; None: as the run's parameters say
    # (count,) int32: indices within the run of the images that are sent again; None in the first round.
    members: Mapped[bytes | None]
    state: Mapped[BatchState]
    due_at: Mapped[datetime]  # no worker takes it before
    dispatched_at: Mapped[datetime | None]  # of the latest hint
    sampling_us: Mapped[int | None] = mapped_column(BigInteger)  # time inside the annealer
    embedding_id: Mapped[int | None] = mapped_column(ForeignKey("embeddings.id"))
    qpu: Mapped[str | None] = mapped_column(String(128))  # that it was given to, of several
    embedding_s: Mapped[float | None]  # seconds of the search that it had to wait for; 0: it was stored
    sampled_at: Mapped[datetime | None]  # all samples are stored
    scored_at: Mapped[datetime | None]

    __table_args__ = (
        UniqueConstraint("run_id", "ordinal"),
        Index(None, "state", "dispatched_at"),
        # Batches that were begun and released are taken first.
        Index(None, "run_id", "state", "fence"),
        # Covers the choice of the next batch.
        Index(None, "run_id", "state", "ordinal", "due_at", "dispatched_at"),
        known(BatchState),
        CheckConstraint("count > 0", name="sizes_positive"),
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
    ordinal: Mapped[int]  # within the batch, from 0
    first_image: Mapped[int]  # index within the batch
    count: Mapped[int]  # of images in it
    first_tile: Mapped[int] = mapped_column(server_default="0")  # that its first image lies on
    label: Mapped[str] = mapped_column(String(64), unique=True)  # finds it at its solver
    sapi_id: Mapped[str | None] = mapped_column(String(64), unique=True)  # of the solver
    embedding_id: Mapped[int | None] = mapped_column(ForeignKey("embeddings.id"))
    graph_id: Mapped[str | None] = mapped_column(String(64))  # of the solver's working graph
    state: Mapped[ProblemState]
    scale: Mapped[float | None]  # what h and J were multiplied by
    chain_strength: Mapped[float | None]  # in the model's units, before that
    coupling_bias: Mapped[float | None]  # field per |J| = 1 at a qubit that its h make up for
    # Of h and J as they were sent; see `worker.sapi.wire.problem_digest`. None: by an earlier version.
    sent_sha256: Mapped[str | None] = mapped_column(String(64))
    # What its reads say about the chip; see `worker.compute.problem_checks.ProblemCheck`.
    measured: Mapped[dict[str, Any] | None]
    times_sent: Mapped[int] = mapped_column(server_default="0")  # submissions
    adopted: Mapped[bool] = mapped_column(
        server_default=false()
    )  # its outcome was unknown, and it was found by its label
    duplicates: Mapped[int] = mapped_column(server_default="0")  # further problems under its label
    # Charged without an answer: for duplicates, and for a problem that failed or was not found again.
    wasted_us: Mapped[float] = mapped_column(server_default="0")
    # (images, units): share of reads in which each chain is broken; see `schema.codecs.arrays`.
    chain_breaks: Mapped[bytes | None]
    estimated_us: Mapped[int | None] = mapped_column(BigInteger)  # QPU time, before it is submitted
    charged_us: Mapped[float | None]  # QPU time, once it is answered, in steps of 0.1
    charge_estimated: Mapped[bool] = mapped_column(server_default=false())  # the solver stated no charge
    qpu: Mapped[str | None] = mapped_column(String(128))  # name of the solver that it was sent to
    recheck_at: Mapped[datetime | None]  # when to look for duplicates again; None: no more
    rechecks: Mapped[int] = mapped_column(server_default="0")  # number of such looks so far
    timing: Mapped[dict[str, Any] | None]  # as the solver reported it
    error: Mapped[str | None] = mapped_column(Text)
    reserved_at: Mapped[datetime]
    sending_at: Mapped[datetime | None]  # of the latest submission
    sent_at: Mapped[datetime | None]  # when the solver accepted it
    answered_at: Mapped[datetime | None]

    __table_args__ = (
        UniqueConstraint("batch_id", "ordinal"),
        Index(None, "state"),
        Index(None, "sending_at"),
        Index(None, "recheck_at"),
        known(ProblemState),
        CheckConstraint("count > 0", name="sizes_positive"),
        CheckConstraint("state <> 'sending' OR sending_at IS NOT NULL", name="sending_has_time"),
        CheckConstraint("state <> 'sent' OR sapi_id IS NOT NULL", name="sent_has_id"),
        CheckConstraint("(state = 'answered') = (answered_at IS NOT NULL)", name="answered_has_time"),
    )


def is_answered() -> ColumnElement[bool]:
    """Build the condition that a problem of some batch or run is answered.

    It is that of its state, by the table's CHECK. SQLite would look for the state by its index: it assumes
    that few rows have it, and would read all answered problems of the database.
    """
    return Problem.answered_at.is_not(None)


class Classification(Base):
    """The consensus for one image of a run."""

    __tablename__ = "classifications"

    run_id: Mapped[int] = mapped_column(ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True)
    image: Mapped[int] = mapped_column(primary_key=True)  # index within the run
    predicted: Mapped[int | None]  # class; None: undecided
    label: Mapped[int | None]  # true class, where known
    status: Mapped[str] = mapped_column(String(16))  # decided, tied or undecided
    scores: Mapped[bytes]  # (classes,) little-endian float32, each in [0, 1]; CRC-32
    margin: Mapped[float]  # between the two highest scores
    one_hot_fraction: Mapped[float]  # of reads in which exactly one class unit is on
    chain_break_fraction: Mapped[float | None]  # of chains; None: the solver has no qubits
    lowest_energy: Mapped[float]  # of all reads
    energy_gap: Mapped[float | None]  # from the lowest state of the winner to that of the best other class
    probability: Mapped[float | None]  # of the winner, by the free energies of the class states
    probabilities: Mapped[bytes | None]  # of all classes: (classes,) little-endian float32; CRC-32
    reads: Mapped[int | None]  # behind it, of all rounds; None: as the run's parameters say
    # Class by the reads of the rounds before the latest, -1: undecided; None: it was read in one round.
    earlier_predicted: Mapped[int | None]
    class_set: Mapped[bytes | None]  # classes that hold the right one with the run's confidence: packed bits
    set_size: Mapped[int | None]  # their number

    __table_args__ = (
        CheckConstraint("status IN ('decided', 'tied', 'undecided')", name="status_known"),
        CheckConstraint("(status = 'undecided') = (predicted IS NULL)", name="undecided_has_no_class"),
    )


class Event(Base):
    """A move of a row from state to state, or another note about it; append-only."""

    __tablename__ = "events"

    id: Mapped[int] = mapped_column(Key, primary_key=True)
    at: Mapped[datetime]
    subject: Mapped[str] = mapped_column(String(32))  # a table's name
    row: Mapped[int] = mapped_column(BigInteger)
    source: Mapped[str | None] = mapped_column(String(16))  # state before
    target: Mapped[str] = mapped_column(String(16))  # state after
    why: Mapped[str | None] = mapped_column(Text)
    actor: Mapped[str | None] = mapped_column(String(128))  # who asked for it; None: annealq itself
    request_id: Mapped[str | None] = mapped_column(String(64))  # of the HTTP request that caused it

    __table_args__ = (Index(None, "subject", "row"),)


class Spending(Base):
    """QPU time of the problems that a run submitted on one day (UTC), the sum of `schema.tables.costs`."""

    __tablename__ = "spendings"

    run_id: Mapped[int] = mapped_column(ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True)
    day: Mapped[date] = mapped_column(primary_key=True)
    spent_us: Mapped[float] = mapped_column(server_default="0")

    __table_args__ = (Index(None, "day"),)


class Breaker(Base):
    """A solver that failed recently; see `worker.scheduling.circuit_breaker`."""

    __tablename__ = "breakers"

    solver: Mapped[str] = mapped_column(String(600), primary_key=True)  # with the name or features of a QPU
    # First digits of the digest of the token, or empty; the token is stored nowhere.
    account: Mapped[str] = mapped_column(String(16), primary_key=True, server_default="")
    failures: Mapped[int]  # in a row
    error: Mapped[str] = mapped_column(Text)  # the latest
    since: Mapped[datetime]  # of the first of these failures
    opened_at: Mapped[datetime | None]  # from then on its batches wait; None: not yet
    retry_at: Mapped[datetime]  # nothing is sent to it before
    probe: Mapped[int | None] = mapped_column(BigInteger)  # the batch that tries next

    __table_args__ = (CheckConstraint("failures > 0", name="has_failed"),)


class Ledger(Base):
    """The identity of this database, one row: its key is in the label of each of its problems."""

    __tablename__ = "ledgers"

    key: Mapped[str] = mapped_column(String(8), primary_key=True)  # hexadecimal
    created_at: Mapped[datetime]
