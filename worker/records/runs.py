"""Reads and writes of runs: pauses, counts of finished batches, and the statistics that end a run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, case, func, or_, select, update
from sqlalchemy.orm import InstrumentedAttribute, Session

from schema.database import transition
from schema.errors import Corrupt, StaleState
from schema.parameters import Parameters, Solver
from schema.states import LIVE_RUNS, RESUMED, BatchState, PausedBy, ProblemState, RunState
from schema.tables import Batch, Classification, Embedding, Event, Problem, Run, SampleSet
from schema.tables.costs import IN_FLIGHT
from schema.tables.runs import is_read
from worker.records import measurements
from worker.records.certainty import reliability

UNANSWERED = "no answer for images"  # in the error of a batch, before its images that were given up
_EARLIER = 200  # problems that show what is usual
_PAGE = 100  # problems whose shares of broken chains are read at once
_NAMED = 10  # batches whose errors are in the error of their run


@dataclass(frozen=True)
class BatchTimestamps:
    """Times of one scored batch, in seconds since the epoch, and the duration of its sampling.

    Those of a later round of reads have no ``images`` of their own.
    """

    images: int
    enqueued: float
    started: float
    sampled: float
    scored: float
    sampling_s: float


@dataclass(frozen=True)
class ProblemFacts:
    """A problem that was submitted, as the ledger records it.

    Attributes:
        accepted: the solver gave it an id.
        charged_us: charge in microseconds, 0 until it is answered.
        wasted_us: charge of its duplicates, or without an answer.
        charge_estimated: the solver did not state the charge.
        timing: the solver's own, with SAPI's names.
        measured: what its reads say about the chip.
        misprogrammed: the chip was programmed wrongly for it.
        round: of reads.
    """

    images: int
    accepted: bool
    adopted: bool
    times_sent: int
    duplicates: int
    estimated_us: int
    charged_us: float
    wasted_us: float
    charge_estimated: bool
    reads: int
    timing: dict[str, Any] | None
    measured: dict[str, Any] | None = None
    misprogrammed: bool = False
    round: int = 1


@dataclass(frozen=True)
class Figures:
    """Rows that the statistics of a run are computed from."""

    batches: tuple[BatchTimestamps, ...]  # scored ones, and those failed ones that have classified images
    failed_batches: int
    first_error: str | None
    problems: tuple[ProblemFacts, ...]  # submitted ones
    searches_s: tuple[float, ...]  # for each batch with an embedding: seconds that it waited for a search
    embeddings_s: tuple[float, ...]  # for each embedding of the run: seconds of its search, in any run
    earlier: tuple[
        dict[str, Any], ...
    ] = ()  # measured of the newest good problems of its kind before the run
    reliability: tuple[reliability.ReliabilityBin, ...] = ()  # bins with images, in ascending order
    labelled: int = 0  # classified images that have a label
    correct: int = 0  # of these, those that are predicted right


def start_aggregating(session: Session, run: int, why: str | None = None, *, now: datetime) -> bool:
    """Move ``run`` to `aggregating` at ``now`` in ``session`` if all of its batches are finished.

    A run whose images are still being read is not. The event of it says ``why`` a round of reads is left out.

    Returns:
        Whether to compute its statistics: also if a crash left it in `aggregating`.
    """
    row = session.execute(
        select(Run.state, Run.batches, Run.batches_scored, Run.batches_failed).where(Run.id == run, is_read())
    ).first()
    if row is None or row.batches_scored + row.batches_failed < row.batches:
        return False
    if row.state is RunState.AGGREGATING:
        return True
    if row.state not in (RunState.RUNNING, RunState.PAUSED):
        return False
    values = {"dispatched_at": now, **RESUMED}
    transition(session, run, row.state, RunState.AGGREGATING, now=now, why=why, **values)
    return True


def state_of(session: Session, run: int) -> RunState:
    return session.execute(select(Run.state).where(Run.id == run)).scalar_one()


def parameters_of(session: Session, run: int) -> Parameters:
    return Parameters.from_dict(session.execute(select(Run.parameters).where(Run.id == run)).scalar_one())


def pause(session: Session, run: int, by: PausedBy, why: str, *, now: datetime) -> None:
    """Pause ``run`` at ``now`` in ``session`` if it is live; store what paused it, ``by``, and ``why``."""
    values = {"paused_by": by, "pause_reason": why, "paused_at": now}
    for state in LIVE_RUNS:
        try:
            transition(session, run, state, RunState.PAUSED, now=now, why=why, **values)
        except StaleState:
            continue
        return


def pin(session: Session, run: int, before: str | None, qpu: str, graph_id: str) -> str:
    """Store in ``session`` that ``run`` uses the solver ``qpu`` with ``graph_id``, if its QPU is ``before``.

    Returns:
        The QPU of the run now: another one if another worker was faster.
    """
    same = Run.qpu.is_(None) if before is None else Run.qpu == before
    moved = update(Run).where(Run.id == run, same).values(qpu=qpu, graph_id=graph_id).returning(Run.id)
    if session.execute(moved).first() is not None:
        return qpu
    return session.execute(select(Run.qpu).where(Run.id == run)).scalar_one() or qpu


def resume_budget_paused(session: Session, *, now: datetime) -> int:
    """Resume at ``now`` in ``session`` the runs paused by the budget of an earlier day or month.

    Returns:
        How many there were.
    """
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    begins = {PausedBy.DAY: midnight, PausedBy.MONTH: midnight.replace(day=1)}
    over = or_(*(and_(Run.paused_by == by, Run.paused_at < begin) for by, begin in begins.items()))
    query = select(Run.id, Run.paused_by).where(Run.state == RunState.PAUSED, over)
    rows = session.execute(query).all()
    for run, by in rows:
        resume(session, run, f"a new {by}", now=now)
    return len(rows)


def resume(session: Session, run: int, why: str, *, now: datetime) -> None:
    """Resume ``run`` at ``now`` in ``session`` and store ``why``.

    Raises:
        StaleState: the run is no longer paused.
    """
    transition(session, run, RunState.PAUSED, state_before_pause(session, run), now=now, why=why, **RESUMED)


def state_before_pause(session: Session, run: int) -> RunState:
    """Read from ``session`` the state that the paused ``run`` returns to."""
    started_at = session.execute(select(Run.started_at).where(Run.id == run)).scalar_one()
    return RunState.QUEUED if started_at is None else RunState.RUNNING


def lacks_statistics(session: Session, run: int) -> bool:
    """Return whether ``session`` sees ``run`` as cancelled, idle and without statistics."""
    return session.execute(select(Run.id).where(Run.id == run, awaits_statistics())).first() is not None


def awaits_statistics() -> ColumnElement[bool]:
    """Build the condition that a run is cancelled, has no statistics, and has no work in progress."""
    in_progress = select(Batch.id).where(
        Batch.run_id == Run.id, Batch.state.in_([BatchState.SAMPLING, BatchState.SAMPLED])
    )
    with_problems = select(Batch.run_id).join(Problem, Problem.batch_id == Batch.id)
    return and_(
        Run.state == RunState.CANCELLED,
        Run.statistics.is_(None),
        Run.error.is_(None),
        ~in_progress.exists(),
        Run.id.not_in(with_problems.where(Problem.state.in_(IN_FLIGHT))),
    )


def store_statistics(session: Session, run: int, statistics: dict[str, Any] | Corrupt) -> None:
    """Store the ``statistics`` of a cancelled ``run`` in ``session``, or why they cannot be computed."""
    is_corrupt = isinstance(statistics, Corrupt)
    values = {"error": f"Corrupt: {statistics}"} if is_corrupt else {"statistics": statistics}
    session.execute(update(Run).where(Run.id == run, Run.state == RunState.CANCELLED).values(**values))


def load_figures(session: Session, run: int) -> Figures:
    """Read from ``session`` what the statistics of ``run`` need: rows of batches, and counts of images."""
    times = (Batch.created_at, Batch.started_at, Batch.sampled_at, Batch.scored_at)
    rows = session.execute(
        select(case((Batch.round == 1, Batch.count), else_=0), *times, func.coalesce(Batch.sampling_us, 0))
        .where(Batch.run_id == run, Batch.state == BatchState.SCORED)
        .order_by(Batch.ordinal)
    )
    errors = session.execute(
        select(Batch.error)
        .where(Batch.run_id == run, Batch.state == BatchState.FAILED)
        .order_by(Batch.ordinal)
    )
    failed = [error or "" for error in errors.scalars()]
    right = func.count(case((Classification.predicted == Classification.label, 1)))
    outcomes = select(func.count(Classification.label), right).where(Classification.run_id == run)
    labelled, correct = session.execute(outcomes).one()
    unanswered = [error for error in failed if UNANSWERED in error]
    return Figures(
        batches=tuple(_times(row) for row in [*rows, *_partly_scored(session, run)]),
        failed_batches=len(failed),
        first_error="; ".join(unanswered[:_NAMED]) if unanswered else min(failed, default=None),
        problems=_problems(session, run),
        searches_s=tuple(session.execute(_batches(Batch.embedding_s, run)).scalars()),
        embeddings_s=_embeddings(session, run),
        earlier=tuple(measurements.before_run(session, run, _EARLIER)),
        reliability=reliability.bins(session, run),
        labelled=labelled,
        correct=correct,
    )


def list_controlled(session: Session, run: int) -> list[int]:
    """Read from ``session`` the scored batches of ``run``, if its accuracy on qubits needs controls.

    Those of a calibration's runs are computed by the calibration.
    """
    row = session.execute(select(Run.solver, Run.labelled, Run.calibrates).where(Run.id == run)).one()
    if not (row.labelled and Solver(row.solver).is_remote) or row.calibrates is not None:
        return []
    query = select(Batch.id).where(Batch.run_id == run, Batch.state == BatchState.SCORED, Batch.round == 1)
    return list(session.execute(query.order_by(Batch.ordinal)).scalars())


def _partly_scored(session: Session, run: int) -> Sequence[Any]:
    """Return the classified images and the times of failed batches of which some images have answers."""
    in_batch = Classification.image.between(Batch.first_image, Batch.first_image + Batch.count - 1)
    images = select(func.count()).where(Classification.run_id == run, in_batch).scalar_subquery()
    event = and_(Event.subject == "batches", Event.row == Batch.id, Event.target == BatchState.FAILED)
    ended_at = select(func.max(Event.at)).where(event).scalar_subquery()
    return session.execute(
        select(
            images,
            Batch.created_at,
            Batch.started_at,
            Batch.sampled_at,
            func.coalesce(ended_at, Batch.sampled_at),
            func.coalesce(Batch.sampling_us, 0),
        )
        .where(
            Batch.run_id == run, Batch.state == BatchState.FAILED, Batch.sampled_at.is_not(None), images > 0
        )
        .order_by(Batch.ordinal)
    ).all()


def _problems(session: Session, run: int) -> tuple[ProblemFacts, ...]:
    columns: tuple[Any, ...] = (
        Problem.count,
        Problem.sent_at.is_not(None),
        Problem.adopted,
        Problem.times_sent,
        Problem.duplicates,
        func.coalesce(Problem.estimated_us, 0),
        func.coalesce(Problem.charged_us, 0),
        Problem.wasted_us,
        Problem.charge_estimated,
        func.coalesce(SampleSet.reads, 0),
        Problem.timing,
        Problem.measured,
        and_(Problem.measured.is_not(None), Problem.state == ProblemState.FAILED),
        Batch.round,
    )
    rows = session.execute(
        select(*columns)
        .join(Batch, Batch.id == Problem.batch_id)
        .outerjoin(SampleSet, SampleSet.problem_id == Problem.id)
        .where(Batch.run_id == run, Problem.times_sent > 0)
        .order_by(Problem.id)
    )
    return tuple(ProblemFacts(*row) for row in rows)


def stored_chain_breaks(session: Session, run: int) -> Iterator[tuple[bytes, int]]:
    """Yield the shares of broken chains of the submitted problems of ``run``, each with its images.

    They are read from ``session`` page by page; see `schema.tables.Problem`.
    """
    rows = session.execute(
        select(Problem.chain_breaks, Problem.count)
        .join(Batch, Batch.id == Problem.batch_id)
        .where(Batch.run_id == run, Problem.times_sent > 0, Problem.chain_breaks.is_not(None))
        .order_by(Problem.id)
        .execution_options(yield_per=_PAGE)
    )
    for data, images in rows:
        yield data or b"", images


def _embeddings(session: Session, run: int) -> tuple[float, ...]:
    used = _batches(Batch.embedding_id, run)
    rows = session.execute(select(Embedding.seconds).where(Embedding.id.in_(used)).order_by(Embedding.id))
    return tuple(seconds or 0.0 for seconds in rows.scalars())


def _batches(column: InstrumentedAttribute[Any], run: int) -> Select[Any]:
    """Select a column of those batches of a run that needed an embedding."""
    return select(column).where(Batch.run_id == run, Batch.embedding_s.is_not(None))


def count_batch(session: Session, run: int, *, scored: int = 0, failed: int = 0) -> bool:
    """Count ``scored`` or ``failed`` batches of ``run`` in ``session``; return whether none is left."""
    counted = session.execute(
        update(Run)
        .where(Run.id == run)
        .values(batches_scored=Run.batches_scored + scored, batches_failed=Run.batches_failed + failed)
        .returning(Run.batches, Run.batches_scored, Run.batches_failed)
    ).one()
    return bool(counted.batches_scored + counted.batches_failed == counted.batches)


def count_failed(session: Session, batch: int) -> int | None:
    """Count a failed ``batch`` in ``session``; return its run if that has no unfinished batch left."""
    run = session.execute(select(Batch.run_id).where(Batch.id == batch)).scalar_one()
    return run if count_batch(session, run, failed=1) else None


def finish(
    session: Session, run: int, figures: Figures, statistics: dict[str, Any] | Corrupt, *, now: datetime
) -> None:
    """Store ``statistics`` and end ``run`` at ``now`` in ``session``.

    The run becomes `failed` if a batch in ``figures`` failed or the statistics could not be computed, else
    `done`. Its classifications remain in any case.

    Raises:
        StaleState: another worker has ended it.
    """
    error = None
    target = RunState.DONE
    if figures.failed_batches:
        target = RunState.FAILED
        error = f"{figures.failed_batches} of its batches failed; the first error: {figures.first_error}"
    if isinstance(statistics, Corrupt):
        target, error = RunState.FAILED, f"Corrupt: {statistics}"
    values = {"statistics": None if isinstance(statistics, Corrupt) else statistics, "error": error}
    transition(session, run, RunState.AGGREGATING, target, now=now, why=error, finished_at=now, **values)


def _times(row: Sequence[Any]) -> BatchTimestamps:
    images, *stamps, sampling_us = row
    enqueued, started, sampled, scored = (stamp.timestamp() for stamp in stamps)
    return BatchTimestamps(images, enqueued, started, sampled, scored, sampling_us / 1e6)
