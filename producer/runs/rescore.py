"""Creates a run that scores the raw samples of another run again; no image is sampled a second time.

Its batches start as `sampled`. They are copies of the source's batches; the sample sets are shared.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Integer, Row, Select, and_, case, func, insert, literal, null, select
from sqlalchemy.orm import Session, aliased

from producer.enqueued import Enqueued
from schema.codecs import arrays
from schema.database import Database, record_event
from schema.errors import NetworkError, NotFound, ParameterError
from schema.parameters import Parameters, Solver
from schema.parameters.rounds import first_reads
from schema.states import FINISHED_RUNS, BatchState, NetworkState, RunState
from schema.tables import Batch, BatchFeatures, BatchImages, Network, Problem, Run, SampleSet
from schema.tables.columns import Key, UtcDateTime

HINTED = 200  # batches that get a hint immediately; the reconciler finds the others

_COPIED = (
    Batch.ordinal,
    Batch.first_image,
    Batch.count,
    Batch.shape,
    Batch.dtype,
    Batch.round,
    Batch.members,
)
_IMAGES = (
    BatchImages.images,
    BatchImages.reference,
    BatchImages.images_sha256,
    BatchImages.labels,
    BatchImages.sources,
)
_STAMPS = ("due_at", "created_at", "started_at", "sampled_at")


def enqueue_rescored(
    database: Database,
    run: int,
    changes: Mapping[str, Any],
    also: Callable[[Session, int], None] | None = None,
    calibrated_by: int | None = None,
) -> Enqueued:
    """Commit to ``database`` a run that scores the raw samples behind ``run`` with other parameters.

    Args:
        run: if it scored the samples of a third run itself, those are scored again.
        changes: any of reads (the first N of each image, over all of its rounds), rule, fraction, beta,
            confidence, by_class and, for samples of qubits, unembedding; other parameters stay.
        also: writes more about the new run, given its id, in the same transaction.
        calibrated_by: the calibration whose temperature and nonconformity the new run uses.

    Raises:
        NotFound: the run does not exist.
        ParameterError: it is not finished, has no samples or fewer reads, or a value is out of range.
        NetworkError: its network can no longer be used.
    """
    with database.transaction() as session:
        now = database.now(session)
        earlier, source, stored, parameters = _check(session, run, changes)
        new = _insert_run(session, earlier, source, stored, parameters, calibrated_by, now=now)
        names = ["run_id", "state", "sampling_us", "dispatched_at", *_STAMPS, "reads"]
        names += [c.key for c in _COPIED]
        session.execute(insert(Batch).from_select(names, _copies(new, source, parameters, now=now)))
        names = ["batch_id", *(c.key for c in _IMAGES)]
        session.execute(insert(BatchImages).from_select(names, _copied(BatchImages, _IMAGES, new, source)))
        names = ["batch_id", "feature_set_id"]
        copied = _copied(BatchFeatures, [BatchFeatures.feature_set_id], new, source)
        session.execute(insert(BatchFeatures).from_select(names, copied))
        record_event(session, "runs", new, None, RunState.RUNNING, now=now, why=f"scores run {source} again")
        if also is not None:
            also(session, new)
    return Enqueued(new, created=True)


def changed_parameters(
    stored: Mapping[str, Any], sampled: Mapping[str, Any], changes: Mapping[str, Any]
) -> Parameters:
    """Return the parameters ``stored`` of a run as it is scored with ``changes``.

    The first N reads of an image may end within a later round, which then has fewer.

    Args:
        sampled: parameters of the run that sampled the reads.

    Raises:
        ParameterError: a value is out of range.
    """
    parameters = Parameters.from_dict({**stored, **changes})
    first = Parameters.from_dict(sampled)
    if "reads" not in changes or first.rounds is None:
        return parameters
    reads, rounds = first_reads(first.reads, first.rounds, parameters.reads)
    return replace(parameters, reads=reads, rounds=rounds)


def check_rescored(session: Session, run: int, changes: Mapping[str, Any]) -> None:
    """Raise what `enqueue_rescored` raises for ``run`` and ``changes``, by what ``session`` reads."""
    _check(session, run, changes)


def _check(session: Session, run: int, changes: Mapping[str, Any]) -> tuple[Run, int, Row[Any], Parameters]:
    """Return ``run``, the run whose samples are scored, what is stored of them, and the new parameters."""
    row = _finished(session, run)
    source = row.Run.rescored_from or run
    sampled = session.get_one(Run, source).parameters
    parameters = changed_parameters(row.Run.parameters, sampled, changes)
    stored = _stored(session, source, parameters)
    if stored.batches == 0:
        raise ParameterError(
            f"run {run} has no raw samples to score again: no batch was scored, or `annealq runs prune` "
            "has removed them; classify the images again"
        )
    if "unembedding" in changes and not Solver(row.Run.solver).is_remote:
        raise ParameterError(f"run {run} was sampled without qubits: there is nothing to unembed")
    wanted = changes.get("reads", parameters.reads)
    most = stored.reads + sum(each.reads for each in Parameters.from_dict(sampled).rounds or ())
    if parameters.reads > stored.reads or wanted > most:
        raise ParameterError(
            f"run {source} has {most:,} stored reads per image, fewer than {wanted:,}: "
            "choose fewer, or classify again with more reads"
        )
    return row.Run, source, stored, parameters


def hinted_batches(session: Session, run: int) -> list[int]:
    """Return the ids of the batches of a new ``run`` whose hints its producer sends."""
    due = select(Batch.id).where(Batch.run_id == run, Batch.dispatched_at.is_not(None))
    return list(session.execute(due.order_by(Batch.ordinal)).scalars())


def _finished(session: Session, run: int) -> Row[Run, str, int, NetworkState]:
    row = session.execute(
        select(Run, Network.name, Network.version, Network.state)
        .join(Network, Network.id == Run.network_id)
        .where(Run.id == run)
    ).first()
    if row is None:
        raise NotFound(f"no run {run}: `annealq runs list` shows all runs")
    if row.Run.state not in FINISHED_RUNS:
        raise ParameterError(
            f"run {run} is {row.Run.state}: wait until it is finished, `annealq runs watch {run}`"
        )
    if row.state is not NetworkState.READY:
        raise NetworkError(
            f"run {run} used network {row.name}@{row.version}, which is {row.state}: "
            "without it energies cannot be computed"
        )
    return row


def _is_scored_again(source: int, parameters: Parameters) -> ColumnElement[bool]:
    """Build the condition on the batches of ``source`` that are scored with ``parameters``."""
    scored = and_(Batch.run_id == source, Batch.state == BatchState.SCORED)
    return and_(scored, Batch.round <= 1 + len(parameters.rounds or ()))


def _stored(session: Session, source: int, parameters: Parameters) -> Row[Any]:
    """Return the numbers of batches with samples and of their images, and the fewest reads of an image.

    Images of later rounds are among those of the first, which has the fewest reads in common.
    """
    is_first = Batch.round == 1
    reads = (
        select(Problem.batch_id, func.min(SampleSet.reads).label("reads"))
        .join(SampleSet, SampleSet.problem_id == Problem.id)
        .group_by(Problem.batch_id)
        .subquery()
    )
    return session.execute(
        select(
            func.count().label("batches"),
            func.coalesce(func.sum(case((is_first, Batch.count))), 0).label("images"),
            func.coalesce(func.min(case((is_first, reads.c.reads))), 0).label("reads"),
            func.coalesce(func.max(Batch.round), 1).label("round"),
        )
        .select_from(Batch)
        .join(reads, reads.c.batch_id == Batch.id)
        .where(_is_scored_again(source, parameters))
    ).one()


def _insert_run(
    session: Session,
    rescored: Run,
    source: int,
    stored: Row[Any],
    parameters: Parameters,
    calibrated_by: int | None,
    *,
    now: datetime,
) -> int:
    row = {
        "name": rescored.name,
        "data": rescored.data,
        "network_id": rescored.network_id,
        "solver": rescored.solver,
        "parameters": parameters.to_dict(),
        # There is nothing to sample: the run starts as running.
        "state": RunState.RUNNING,
        "priority": rescored.priority,
        "content_sha256": arrays.digest(
            rescored.content_sha256.encode(), arrays.canonical(parameters.to_dict())
        ),
        "rescored_from": source,
        "calibrated_by": calibrated_by,
        "images": stored.images,
        "batches": stored.batches,
        "round": stored.round,
        "labelled": rescored.labelled,
        "created_at": now,
        "started_at": now,
    }
    return session.execute(insert(Run).values(row).returning(Run.id)).scalar_one()


def _copies(run: int, source: int, parameters: Parameters, *, now: datetime) -> Select[Any]:
    """Select the source's scored batches as rows of the new run."""
    stamp = literal(now, UtcDateTime())
    sampled = select(Problem.id).join(SampleSet).where(Problem.batch_id == Batch.id).exists()
    return select(
        literal(run, Key),
        literal(BatchState.SAMPLED, Batch.state.type),
        literal(0, Integer()),
        case((Batch.ordinal < HINTED, stamp), else_=null()),
        *[stamp] * len(_STAMPS),
        _reads_of_round(parameters),
        *_COPIED,
    ).where(_is_scored_again(source, parameters), sampled)


def _reads_of_round(parameters: Parameters) -> ColumnElement[Any]:
    """Build the number of reads of a batch in a run with ``parameters``: null in the first round."""
    rounds = {number: each.reads for number, each in enumerate(parameters.rounds or (), start=2)}
    return case(rounds, value=Batch.round, else_=null()) if rounds else literal(None, Integer())


def _copied(
    table: type[BatchImages] | type[BatchFeatures], columns: Sequence[Any], run: int, source: int
) -> Select[Any]:
    """Select the ``columns`` that ``table`` has of those batches; the database copies them."""
    copy = aliased(Batch)
    return (
        select(copy.id, *columns)
        .select_from(table)
        .join(Batch, Batch.id == table.batch_id)
        .join(copy, copy.ordinal == Batch.ordinal)
        .where(Batch.run_id == source, copy.run_id == run)
    )
