"""Reads and writes of a batch's work, bytes in and bytes out. No numbers are computed here."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Insert, Update, and_, bindparam, insert, select, update
from sqlalchemy.orm import Session, aliased

from schema.codecs import samples
from schema.database import transition
from schema.errors import StaleState
from schema.parameters import Parameters, Solver
from schema.states import BatchState, ProblemState, RunState
from schema.tables import Batch, BatchImages, Classification, Embedding, Problem, Run, SampleSet
from worker.process.crash_points import CrashPoint, reach
from worker.records import runs

_CLASSIFY: Insert = insert(Classification.__table__)  # type: ignore[arg-type]
_KEEP_BREAKS: Update = (
    update(Problem.__table__)  # type: ignore[arg-type]
    .where(Problem.id == bindparam("problem_"))
    .values(chain_breaks=bindparam("breaks_"))
)


@dataclass(frozen=True, eq=False)
class BatchInput:
    """A batch as its row holds it, with what its run says about how to sample it."""

    batch: int
    run: int
    network: int
    solver: Solver
    parameters: Parameters
    first_image: int
    shape: tuple[int, int, int]
    images: bytes
    images_sha256: str
    labels: bytes | None


@dataclass(frozen=True, eq=False)
class StoredReads:
    """A raw sample set, with the tiling that its qubits belong to; None where it holds units, not qubits."""

    problem: int
    first_image: int
    count: int
    data: bytes
    tiling: bytes | None


@dataclass(frozen=True)
class Sampled:
    """What a batch keeps of its sampling on a solver with qubits."""

    embedding_id: int
    searched_s: float
    sampling_us: int


@dataclass(frozen=True)
class Scored:
    """The row of one image in `classifications`, but for its run and its index."""

    predicted: int | None
    label: int | None
    status: str
    scores: bytes
    margin: float
    one_hot_fraction: float
    lowest_energy: float
    chain_break_fraction: float | None = None


def load(session: Session, batch: int) -> BatchInput:
    """Read a batch that exists. One whose images are gone comes without any, which is damage to who looks."""
    row = session.execute(_LOAD, {"batch_": batch}).one()
    return BatchInput(
        batch=batch,
        run=row.run_id,
        network=row.network_id,
        solver=Solver(row.solver),
        parameters=Parameters.from_dict(row.parameters),
        first_image=row.first_image,
        shape=(row.count_, row.height, row.width),
        images=row.images or b"",
        images_sha256=row.images_sha256 or "",
        labels=row.labels,
    )


_LOAD = (
    select(
        Batch.run_id,
        Batch.first_image,
        Batch.count.label("count_"),  # a row has a method of that name
        Batch.height,
        Batch.width,
        BatchImages.images,
        BatchImages.images_sha256,
        BatchImages.labels,
        Run.network_id,
        Run.solver,
        Run.parameters,
    )
    .join(Run, Run.id == Batch.run_id)
    .outerjoin(BatchImages, BatchImages.batch_id == Batch.id)
    .where(Batch.id == bindparam("batch_"))
)


def start_run(session: Session, run: int, *, now: datetime) -> None:
    """The first batch that is claimed makes its run running; later ones find it so."""
    try:
        transition(session, run, RunState.QUEUED, RunState.RUNNING, now=now, started_at=now)
    except StaleState:
        return


def finish_sampling(session: Session, work: BatchInput, sampled: Sampled, *, now: datetime) -> None:
    """Move a batch on whose problems are all answered."""
    _sampled(
        session,
        work.batch,
        now,
        sampling_us=sampled.sampling_us,
        embedding_id=sampled.embedding_id,
        embedding_s=sampled.searched_s,
    )


def store_samples(
    session: Session, work: BatchInput, data: bytes, *, variables: int, sampling_us: int, now: datetime
) -> None:
    """Keep what a solver in this process answered, and move the batch on to `sampled`.

    The problem is written with its answer: it never left this process, so it cannot have been charged.
    """
    problem = session.execute(
        insert(Problem)
        .values(
            batch_id=work.batch,
            ordinal=0,
            first_image=0,
            count=work.shape[0],
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
            reads=work.parameters.reads,
            variables=variables,
            data=data,
        )
    )
    _sampled(session, work.batch, now, sampling_us=sampling_us)


def resume_scoring(session: Session, work: BatchInput, *, now: datetime) -> None:
    """Move a batch on whose samples are stored already."""
    _sampled(session, work.batch, now)


def _sampled(session: Session, batch: int, now: datetime, **values: Any) -> None:
    transition(
        session,
        batch,
        BatchState.SAMPLING,
        BatchState.SAMPLED,
        now=now,
        sampled_at=now,
        lease_until=None,
        dispatched_at=now,  # the hint to score it leaves right after this transaction
        **values,
    )


def load_samples(session: Session, batch: int) -> list[StoredReads]:
    """Raw sample sets of a batch, in the order of the images.

    A run that scores another run's samples again has none of its own: they are the other run's.
    """
    rows = session.execute(
        select(Problem.id, Problem.first_image, Problem.count, SampleSet.data, Embedding.tiling)
        .join(SampleSet, SampleSet.problem_id == Problem.id)
        .outerjoin(Embedding, Embedding.id == Problem.embedding_id)
        .where(Problem.batch_id == _sampled_as(session, batch))
        .order_by(Problem.first_image)
    )
    return [StoredReads(*row) for row in rows]


def _sampled_as(session: Session, batch: int) -> int:
    """The batch whose samples count for this one: in most runs itself."""
    source = aliased(Batch)
    found = session.execute(
        select(source.id)
        .join(Run, Run.rescored_from == source.run_id)
        .join(Batch, and_(Batch.run_id == Run.id, Batch.ordinal == source.ordinal))
        .where(Batch.id == batch)
    ).scalar()
    return batch if found is None else found


def state_of(session: Session, batch: int) -> BatchState | None:
    return session.execute(select(Batch.state).where(Batch.id == batch)).scalar()


def store_scores(
    session: Session,
    work: BatchInput,
    rows: Sequence[Scored],
    chain_breaks: Mapping[int, bytes],
    *,
    now: datetime,
) -> bool:
    """Keep the classifications of a batch; returns whether this was the last batch of its run.

    chain_breaks: for each problem, how often each chain was broken; see `schema.tables.Problem`.

    Raises:
        StaleState: the batch was scored already; nothing is written twice.
    """
    transition(session, work.batch, BatchState.SAMPLED, BatchState.SCORED, now=now, scored_at=now)
    values = [
        {"run_id": work.run, "image": work.first_image + index, **vars(row)} for index, row in enumerate(rows)
    ]
    session.execute(_CLASSIFY, values)
    if chain_breaks:
        broken = [{"problem_": problem, "breaks_": data} for problem, data in chain_breaks.items()]
        session.execute(_KEEP_BREAKS, broken)
    reach(CrashPoint.COUNTING)
    return runs.count_batch(session, work.run, scored=1)
