"""Reads and writes of batches: images in, raw samples and classifications out, all as bytes."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Update, and_, bindparam, delete, insert, select, update
from sqlalchemy.orm import Session, aliased

from schema.codecs import arrays, samples
from schema.codecs.corruption import stored_in
from schema.database import record_event, transition, upsert_plain
from schema.database.crash_points import CrashPoint, reach
from schema.errors import StaleState
from schema.parameters import Parameters, QpuChoice, Solver, solver_key
from schema.quantities import ranges_text
from schema.shapes import ImageShape, InputArray
from schema.shards.reference import ShardRows, encoded_images
from schema.states import BatchState, ProblemState, RunState
from schema.tables import Batch, BatchImages, Calibration, Classification, Embedding, Problem, Run, SampleSet
from schema.tables.runs import is_answered
from worker.records import runs
from worker.records.certainty import guarantees

_STORE_BREAKS: Update = (
    update(Problem.__table__)  # type: ignore[arg-type]
    .where(Problem.id == bindparam("problem_"))
    .values(chain_breaks=bindparam("breaks_"))
)


@dataclass(frozen=True, eq=False)
class BatchInput:
    """A batch, with its run's solver and sampling parameters; ``parameters.reads`` are those of its round."""

    batch: int
    run: int
    network: int
    solver: Solver
    parameters: Parameters
    first_image: int
    count: int  # of images
    shape: ImageShape  # of each
    images: bytes | ShardRows
    images_sha256: str
    labels: bytes | None
    due_at: datetime  # no worker takes it before
    created_at: datetime  # of its run
    temperature: float | None = None  # of probabilities, by the run's calibration; None: the network's own
    # That it was given to, of several; else that the run's problems are sent to, once the first was.
    qpu: str | None = None
    round: int = 1  # of reads
    members: bytes | None = None  # of a later round: its images, see `schema.codecs.arrays`
    set_basis: guarantees.SetBasis | None = None  # of sets of classes, in a run with a confidence
    # What the trained layers take of its images, if that is not the images themselves; see
    # `worker.pipeline.features.inputs`.
    joined: InputArray | None = None

    @property
    def image_numbers(self) -> Sequence[int]:
        """Return the index within the run of each image; raise Corrupt if the members are damaged."""
        with stored_in(f"batch {self.batch} of run {self.run}", "classify the images again"):
            return arrays.image_numbers(self.first_image, self.count, self.members)

    @property
    def solver_keys(self) -> tuple[str, ...]:
        """Return the keys of the circuit breakers: of its QPU, and of the choice among several, if any."""
        chosen = self.parameters.to_dict()
        of_run = solver_key(self.solver, chosen, self.qpu)
        of_qpu = solver_key(self.solver, {**chosen, "qpu": self.qpu}) if self.qpu else of_run
        return tuple(dict.fromkeys((of_qpu, of_run)))

    @property
    def is_shared(self) -> bool:
        """Return whether the batch is given to one of several QPUs."""
        return self.solver.is_remote and QpuChoice.parse(self.parameters.qpu).has_several


@dataclass(frozen=True, eq=False)
class StoredReads:
    """A raw sample set with the tiling of its qubits, or None if its variables are units of the model."""

    problem: int
    first_image: int
    count: int
    first_tile: int  # that the first image lies on
    data: bytes
    tiling: bytes | None


@dataclass(frozen=True)
class Sampled:
    """Figures of a batch that was sampled on a solver with qubits."""

    embedding_id: int
    searched_s: float
    sampling_us: int


@dataclass(frozen=True)
class Scored:
    """A row of `classifications`, without its run and image index."""

    predicted: int | None
    label: int | None
    status: str
    scores: bytes
    margin: float
    one_hot_fraction: float
    lowest_energy: float
    chain_break_fraction: float | None = None
    energy_gap: float | None = None
    probability: float | None = None
    probabilities: bytes | None = None
    reads: int | None = None  # of all rounds; None: those of the batch
    earlier_predicted: int | None = None  # see `schema.tables.Classification`
    class_set: bytes | None = None
    set_size: int | None = None


def load(session: Session, batch: int) -> BatchInput:
    """Read ``batch``, which exists, from ``session``.

    If its images are missing, ``images`` is empty and decoding raises Corrupt.
    """
    row = session.execute(_LOAD, {"batch_": batch}).one()
    parameters = Parameters.from_dict(row.parameters)
    shared = QpuChoice.parse(row.parameters.get("qpu")).has_several
    return BatchInput(
        batch=batch,
        run=row.run_id,
        network=row.network_id,
        solver=Solver(row.solver),
        parameters=parameters if row.reads is None else replace(parameters, reads=row.reads),
        first_image=row.first_image,
        count=row.count_,
        shape=arrays.read_shape(row.shape, row.dtype),
        images=encoded_images(row.images or b"", row.reference),
        images_sha256=row.images_sha256 or "",
        labels=row.labels,
        due_at=row.due_at,
        created_at=row.created_at,
        temperature=row.temperature,
        qpu=row.given_to if shared else row.qpu,
        round=row.round,
        members=row.members,
        set_basis=guarantees.set_basis_of(session, row.run_id, row.parameters, row.round),
    )


_LOAD = (
    select(
        Batch.run_id,
        Batch.first_image,
        Batch.count.label("count_"),  # a row has a method of that name
        Batch.shape,
        Batch.dtype,
        BatchImages.images,
        BatchImages.images_sha256,
        BatchImages.reference,
        BatchImages.labels,
        Run.network_id,
        Run.solver,
        Run.parameters,
        Run.created_at,
        Run.qpu,
        *(Batch.due_at, Batch.round, Batch.reads, Batch.members),
        Batch.qpu.label("given_to"),
        Calibration.measured["temperature"]["value"].as_float().label("temperature"),
    )
    .join(Run, Run.id == Batch.run_id)
    .outerjoin(Calibration, Calibration.id == Run.calibrated_by)
    .outerjoin(BatchImages, BatchImages.batch_id == Batch.id)
    .where(Batch.id == bindparam("batch_"))
)


def start_run(session: Session, run: int, *, now: datetime) -> None:
    """Move ``run`` to `running` at ``now`` in ``session``, when its first batch is claimed."""
    with suppress(StaleState):
        transition(session, run, RunState.QUEUED, RunState.RUNNING, now=now, started_at=now)


def give(session: Session, batch: int, qpu: str, why: str, *, now: datetime) -> None:
    """Store in ``session`` that the claimed ``batch`` is given to ``qpu`` at ``now``, and ``why``."""
    session.execute(update(Batch).where(Batch.id == batch).values(qpu=qpu))
    state = BatchState.SAMPLING
    record_event(session, "batches", batch, state, state, now=now, why=f"given to QPU {qpu}: {why}")


def finish_sampling(session: Session, batch_input: BatchInput, sampled: Sampled, *, now: datetime) -> None:
    """Move ``batch_input``, whose problems are answered or given up, to `sampled` at ``now`` in ``session``.

    The figures in ``sampled`` are stored with it.
    """
    _sampled(
        session,
        batch_input.batch,
        now,
        sampling_us=sampled.sampling_us,
        embedding_id=sampled.embedding_id,
        embedding_s=sampled.searched_s,
    )


def store_samples(
    session: Session, batch_input: BatchInput, data: bytes, *, variables: int, sampling_us: int, now: datetime
) -> None:
    """Store the samples of a local solver and move ``batch_input`` to `sampled` in ``session``.

    The problem is inserted with its answer: it was never submitted, so it cannot have been charged.

    Args:
        data: raw samples, as of `schema.codecs.samples`.
        variables: in each sample.
        sampling_us: duration in microseconds.
        now: time of the answer.
    """
    problem = session.execute(
        insert(Problem)
        .values(
            batch_id=batch_input.batch,
            ordinal=0,
            first_image=0,
            count=batch_input.count,
            label=f"annealq:{uuid.uuid4().hex}",
            state=ProblemState.ANSWERED,
            timing={"sampling_us": sampling_us},
            reserved_at=now,
            answered_at=now,
        )
        .returning(Problem.id)
    ).scalar_one()
    session.execute(
        insert(SampleSet).values(
            problem_id=problem,
            codec=samples.VERSION,
            reads=batch_input.parameters.reads,
            variables=variables,
            data=data,
        )
    )
    _sampled(session, batch_input.batch, now, sampling_us=sampling_us)


def resume_scoring(session: Session, batch_input: BatchInput, *, now: datetime) -> None:
    """Move ``batch_input``, whose samples are already stored, to `sampled` at ``now`` in ``session``."""
    _sampled(session, batch_input.batch, now)


def _sampled(session: Session, batch: int, now: datetime, **values: Any) -> None:
    # The hint to score it is sent right after this transaction.
    values |= {"sampled_at": now, "dispatched_at": now, "lease_until": None, "error": None}
    transition(session, batch, BatchState.SAMPLING, BatchState.SAMPLED, now=now, **values)


def load_samples(session: Session, batch: int) -> list[StoredReads]:
    """Read from ``session`` the raw sample sets of ``batch``, in the order of the images.

    A run that scores another run again uses the samples of that run.
    """
    return [StoredReads(*row) for row in session.execute(_READS, {"batch_": _sampled_as(session, batch)})]


def load_tiling(session: Session, batch: int) -> bytes | None:
    """Read from ``session`` the tiling of an answered problem of ``batch``, or None if it has none."""
    query = select(Embedding.tiling).join(Problem, Problem.embedding_id == Embedding.id)
    answered = (Problem.batch_id == _sampled_as(session, batch), is_answered())
    return session.execute(query.where(*answered).order_by(Problem.id).limit(1)).scalar()


def _sampled_as(session: Session, batch: int) -> int:
    """Return the batch that was sampled for ``batch``: itself, unless its run scores another run again."""
    sampled = session.execute(_SAMPLED_AS, {"batch_": batch}).scalar()
    return batch if sampled is None else sampled


# Statements of each batch, built once: building one takes longer than running it.
_READS = (
    select(
        *(Problem.id, Problem.first_image, Problem.count, Problem.first_tile),
        *(SampleSet.data, Embedding.tiling),
    )
    .join(SampleSet, SampleSet.problem_id == Problem.id)
    .outerjoin(Embedding, Embedding.id == Problem.embedding_id)
    .where(Problem.batch_id == bindparam("batch_"), is_answered())
    .order_by(Problem.first_image)
)
_SOURCE = aliased(Batch)
_SAMPLED_AS = (
    select(_SOURCE.id)
    .join(Run, Run.rescored_from == _SOURCE.run_id)
    .join(Batch, and_(Batch.run_id == Run.id, Batch.ordinal == _SOURCE.ordinal))
    .where(Batch.id == bindparam("batch_"))
)


def state_of(session: Session, batch: int) -> BatchState | None:
    return session.execute(select(Batch.state).where(Batch.id == batch)).scalar()


def store_scores(
    session: Session,
    batch_input: BatchInput,
    rows: Mapping[int, Scored],
    chain_breaks: Mapping[int, bytes],
    *,
    now: datetime,
) -> bool:
    """Store the classifications ``rows`` of the batch ``batch_input`` in ``session``, scored by ``now``.

    They are by image within the batch.

    Args:
        chain_breaks: how often each chain was broken, by problem; see `schema.tables.Problem`.

    Returns:
        Whether all batches of the run are finished now.

    Raises:
        StaleState: the batch was already scored; nothing is stored twice.
    """
    values: dict[str, Any] = {"scored_at": now, "error": None}
    transition(session, batch_input.batch, BatchState.SAMPLED, BatchState.SCORED, now=now, **values)
    store_classifications(session, batch_input, rows, chain_breaks)
    reach(CrashPoint.COUNTING)
    return runs.count_batch(session, batch_input.run, scored=1)


def store_classifications(
    session: Session, batch_input: BatchInput, rows: Mapping[int, Scored], chain_breaks: Mapping[int, bytes]
) -> None:
    """Store the classifications ``rows``, by image within the batch ``batch_input``, in ``session``.

    They replace those of an earlier attempt that lacked the answers for some images, and those by the reads
    of earlier rounds. For ``chain_breaks`` see `store_scores`.
    """
    numbers, reads = batch_input.image_numbers, batch_input.parameters.reads
    if batch_input.round == 1 and len(rows) < len(numbers):
        here = Classification.image.between(numbers[0], numbers[-1])
        session.execute(delete(Classification).where(Classification.run_id == batch_input.run, here))
    values = [
        {"run_id": batch_input.run, "image": numbers[k], **vars(row), "reads": row.reads or reads}
        for k, row in rows.items()
    ]
    if values:
        # In one order: two batches of the same images may be scored at once.
        upsert_plain(session, Classification, sorted(values, key=lambda value: value["image"]))
    if chain_breaks:
        broken = [{"problem_": problem, "breaks_": data} for problem, data in chain_breaks.items()]
        session.execute(_STORE_BREAKS, broken)


def unanswered(session: Session, batch_input: BatchInput, stored: Sequence[StoredReads]) -> str | None:
    """Return which images of ``batch_input`` have no reads in ``stored``, and why; None if all have some.

    By ``session``, they were in failed problems, or the batch was given up. If neither is the case, None is
    returned, too: then reads are missing.
    """
    covered = {image for part in stored for image in range(part.first_image, part.first_image + part.count)}
    missing = [image for image in range(batch_input.count) if image not in covered]
    if not missing:
        return None
    errors: dict[int, str] = {}
    query = select(Problem.first_image, Problem.count, Problem.error).where(
        Problem.batch_id == batch_input.batch, Problem.state == ProblemState.FAILED
    )
    for first, count, error in session.execute(query.order_by(Problem.id)):
        errors |= dict.fromkeys(range(first, first + count), error or "")
    why = session.execute(select(Batch.error).where(Batch.id == batch_input.batch)).scalar()
    if why is not None:
        errors = dict.fromkeys(missing, why) | errors
    elif batch_input.round > 1:  # those that a budget did not pay have earlier reads
        missing = [image for image in missing if image in errors]
    if not missing or any(image not in errors for image in missing):
        return None
    numbers = batch_input.image_numbers
    named = ranges_text(sorted(numbers[image] for image in missing))
    return f"{runs.UNANSWERED} {named}: {errors[missing[0]]}"
