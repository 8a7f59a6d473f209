"""Begins the next round of reads of a run, or says why it ends without.

What is chosen depends on stored classifications only, which do not change while no batch is unfinished. One
guarded transaction writes the round: after a crash it is chosen again, or there.

Batches of the first round that failed, and were resumed after a later round had begun, are late: before the
next round begins, or the run ends, their uncertain images are read in the rounds that they have missed.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import Enum, auto
from typing import TYPE_CHECKING, Any

import structlog
from sqlalchemy import ColumnElement, Row, and_, func, insert, or_, select, update
from sqlalchemy.orm import Session, aliased

from schema.calendar.run_hours import RunHours
from schema.database import record_event
from schema.database.crash_points import CrashPoint, reach
from schema.database.feature_requests import ask, feature_requests
from schema.errors import Corrupt, ParameterError, StaleState
from schema.parameters import Parameters, Round, Solver
from schema.quantities import count_text, number_text
from schema.states import PausedBy, RunState
from schema.tables import Batch, BatchFeatures, BatchImages, Embedding, Problem, Run, SampleSet
from schema.tables.costs import scale_charge
from schema.tables.runs import is_answered, is_read
from worker.rounds.gaps import read_gaps
from worker.rounds.images import Rows, copy_batches
from worker.rounds.selection import Selection, arrange, select_images, split
from worker.rounds.sets import SetLimit, set_limit
from worker.rounds.tiles import tiles_of_images
from worker.scheduling import admission

if TYPE_CHECKING:
    from schema.database import Database
    from schema.settings.worker import WorkerSettings

log = structlog.get_logger()

_FEWEST = 10  # images in a batch of a solver without qubits, where problems have no size
_CHARGES = 50  # newest problems that tell what the next ones are charged


class Next(Enum):
    """What follows the batches of a run that are all finished."""

    ROUND = auto()  # another round has begun
    WAIT = auto()  # one begins when the run is resumed
    END = auto()  # the run has no more rounds


@dataclass(frozen=True)
class Following:
    """What follows, and why the run ends without a round that its parameters ask for."""

    next: Next
    why: str | None = None


def begin_next(database: Database, settings: WorkerSettings, run: int) -> Following:
    """Begin the next round of ``run`` in ``database``, if its batches are finished and it has one.

    ``settings`` have the budgets of day and month.
    """
    notes = []
    with database.reading() as session:
        now = database.now(session)
        row = _read(session, run)
        if row is None:
            return Following(Next.END)
        for step in _steps(session, row):
            try:
                chosen = _choose(session, row, step, settings, now)
                if chosen is None:
                    continue
                if isinstance(chosen, str):
                    notes.append(f"round {step.number} is left out{step.whose}: {chosen}")
                    continue
                if row.state is RunState.PAUSED:
                    return Following(Next.WAIT)
                rows = _copy(session, row, step, chosen)
            except (Corrupt, ParameterError) as error:
                notes.append(f"round {step.number} is left out{step.whose}: {error}")
                continue
            break
        else:
            return Following(Next.END, "; ".join(notes) or None)
    reach(CrashPoint.ROUND_CHOSEN)
    why = _text(row, step, chosen)
    with database.transaction() as session:
        _write(session, row, step, rows, why, now=database.now(session))
        reach(CrashPoint.ROUND_WRITTEN)
    log.info("round begun", round=step.number, images=len(chosen.images))
    return Following(Next.ROUND, why)


def waits() -> ColumnElement[bool]:
    """Build the condition that a run is paused and may have rounds left, so that it ends when it is resumed.

    A round that has begun is left for images of batches that were resumed, and scored after it had begun.
    """
    rounds = Run.parameters["rounds"]
    first = aliased(Batch)
    newest = select(func.max(first.scored_at)).where(first.run_id == Run.id, first.round == 1).correlate(Run)
    begun = select(Batch.round).where(Batch.run_id == Run.id, Batch.round > 1).group_by(Batch.round)
    is_missed = begun.having(func.max(Batch.created_at) < newest.scalar_subquery()).exists()
    is_left = or_(Run.round <= func.json_array_length(rounds), is_missed)
    has_rounds = rounds.as_string().is_not(None)
    return and_(Run.state == RunState.PAUSED, Run.paused_by != PausedBy.DEADLINE, has_rounds, is_left)


def _read(session: Session, run: int) -> Row[Any] | None:
    hours = (Run.window, Run.opened_until, Run.deadline_at)
    counts = (Run.batches, Run.batches_scored, Run.batches_failed)
    columns = (Run.id, Run.state, Run.round, Run.parameters, Run.solver, Run.images, Run.qpu, Run.graph_id)
    query = select(*columns, Run.rescored_from, Run.paused_by, *hours, *counts)
    return session.execute(query.where(Run.id == run, is_read())).first()


@dataclass(frozen=True)
class _Step:
    """A round that may be next.

    Attributes:
        wanted: as the parameters of the run have it.
        limit: up to which energy gap images have sets of several classes.
        since: it has begun, and late batches are those that were scored afterwards; None: it has not.
        read: images that it reads already.
    """

    number: int
    wanted: Round
    limit: SetLimit
    since: datetime | None = None
    read: int = 0

    @property
    def whose(self) -> str:
        """Return whose images it reads, to be said after it."""
        return "" if self.since is None else " for images of resumed batches"

    @property
    def gap(self) -> float:
        """Return the energy gap below which images are read again."""
        return max(self.wanted.gap, -math.inf if self.limit.gap is None else self.limit.gap)

    def round_of(self, images: int) -> Round:
        """Return the round for a run of ``images``: what is left of its share, and sets included."""
        above = self.limit.gap is not None and self.limit.gap >= self.wanted.gap
        share = self.wanted.share - self.read / images
        return Round(self.wanted.reads, math.nextafter(self.gap, math.inf) if above else self.gap, share)


def _steps(session: Session, row: Row[Any]) -> Iterator[_Step]:
    """Yield the rounds that may be next, of a run whose batches are all finished: first those missed by late
    batches.
    """
    parameters = Parameters.from_dict(row.parameters)
    rounds = parameters.rounds or ()
    finished = row.batches_scored + row.batches_failed == row.batches
    if row.state not in (RunState.RUNNING, RunState.PAUSED) or row.rescored_from is not None or not finished:
        return
    for number, wanted in enumerate(rounds[: row.round], start=2):
        begun: Any = (None, None)
        if number <= row.round:
            query = select(func.max(Batch.created_at), func.sum(Batch.count))
            begun = session.execute(query.where(Batch.run_id == row.id, Batch.round == number)).one()
            late = (Batch.run_id == row.id, Batch.round == 1, Batch.scored_at > begun[0])
            if session.execute(select(Batch.id).where(*late).limit(1)).first() is None:
                continue
        limit = set_limit(session, row.id, parameters, number)
        yield _Step(number, wanted, limit, begun[0], int(begun[1] or 0))


def _choose(
    session: Session, row: Row[Any], step: _Step, settings: WorkerSettings, now: datetime
) -> Selection | str | None:
    """Return the images that ``step`` reads, or why it reads none; None: its share is used up."""
    hours = RunHours.of(row.window, row.opened_until, row.deadline_at)
    if hours.has_expired(now) or row.paused_by is PausedBy.DEADLINE:
        return "the deadline of the run has passed"
    wanted = step.round_of(row.images)
    if wanted.share * row.images < 1 and step.since is not None:
        return None
    late = () if step.since is None else (Batch.scored_at > step.since,)
    images, gaps = read_gaps(session, row.id, *late)
    _, tiles = _embedding(session, row.id) if Solver(row.solver).is_remote else (None, 1)
    selection = select_images(images, gaps, wanted, row.images, tiles)
    if not len(selection.images):
        return None if late else _certain_text(step)
    if not Solver(row.solver).is_remote:
        return selection
    needed = -(-len(selection.images) // tiles)
    problem_us = max(_charges(session, row.id, wanted.reads), default=0.0)
    paid = _affordable(session, row, problem_us, needed, settings, now)
    if paid == 0:
        return f"what is left of a budget does not pay a problem, about {number_text(problem_us / 1e6)} s"
    return select_images(images, gaps, wanted, row.images, tiles, paid)


def _embedding(session: Session, run: int) -> tuple[int | None, int]:
    """Return the embedding of most batches of ``run``, and the images in a full problem; None, 1 without."""
    query = select(Embedding.id, Embedding.tiles).join(Batch, Batch.embedding_id == Embedding.id)
    query = query.where(Batch.run_id == run).group_by(Embedding.id, Embedding.tiles)
    row = session.execute(query.order_by(func.count().desc(), Embedding.id).limit(1)).first()
    return (None, 1) if row is None else (row[0], row[1] or 1)


def _charges(session: Session, run: int, reads: int) -> list[float]:
    """Return what the largest problems of ``run`` would be charged with ``reads``, microseconds."""
    query = (
        select(Problem.charged_us, Problem.timing, SampleSet.reads)
        .join(Batch, Batch.id == Problem.batch_id)
        .join(SampleSet, SampleSet.problem_id == Problem.id)
        .where(Batch.run_id == run, is_answered())
    )
    rows = session.execute(query.order_by(Problem.count.desc(), Problem.id.desc()).limit(_CHARGES))
    return [
        scale_charge(charged_us or 0.0, (timing or {}).get("qpu_programming_time"), before, reads)
        for charged_us, timing, before in rows
    ]


def _affordable(
    session: Session, row: Row[Any], problem_us: float, needed: int, settings: WorkerSettings, now: datetime
) -> int:
    """Return how many of ``needed`` problems of ``problem_us`` the budgets pay: of run, day and month."""
    usage = admission.read_usage(session, row.id, row.qpu or "", row.graph_id or "", settings, now=now)
    sums = [round(problem_us * count) for count in range(1, needed + 1)]
    return min((admission.within_budget(sums, each) for each in usage.budgets.values()), default=needed)


def _copy(session: Session, row: Row[Any], step: _Step, chosen: Selection) -> list[Rows]:
    images, tiles = chosen.images, _FEWEST
    if Solver(row.solver).is_remote:
        embedding, tiles = _embedding(session, row.id)
        if embedding is not None:
            lay = tiles_of_images(session, row.id, step.number, images.tolist(), embedding, tiles)
            images = images[arrange(len(images), tiles, lay)]
    size = session.execute(
        select(func.max(Batch.count)).where(Batch.run_id == row.id, Batch.round == 1)
    ).scalar_one()
    parts = split(len(images), tiles, size)
    return copy_batches(session, row.id, images, parts, step.number, step.wanted.reads)


def _text(row: Row[Any], step: _Step, chosen: Selection) -> str:
    """Return what the round is, for users."""
    verb = "begins" if step.since is None else f"continues{step.whose}"
    sets = ""
    if step.limit.gap is not None:
        sets = f", or a set of several classes (a gap up to {number_text(step.limit.gap)})"
    text = (
        f"round {step.number} {verb}: {count_text(len(chosen.images), 'image')} of {row.images:,} "
        f"read {count_text(step.wanted.reads, 'more time')}; {chosen.uncertain:,} have no class or an energy "
        f"gap below {number_text(step.wanted.gap)}{sets}"
    )
    if chosen.filled:
        text += f", {chosen.filled:,} fill the last problem"
    if chosen.unpaid:
        text += f"; the budget does not pay {chosen.unpaid:,} more"
    return text if step.limit.why is None else f"{text}; none are read for their sets: {step.limit.why}"


def _certain_text(step: _Step) -> str:
    """Return why no image is uncertain."""
    text = f"all images have a class and an energy gap of {number_text(step.wanted.gap)} or more"
    if step.limit.gap is not None:
        text += ", and a set of one class"
    return text if step.limit.why is None else f"{text}; none are read for their sets: {step.limit.why}"


def _write(
    session: Session, row: Row[Any], step: _Step, rows: list[Rows], why: str, *, now: datetime
) -> None:
    """Insert the batches of the round, if the run is as it was.

    Raises:
        StaleState: it was halted, or another worker has begun the round.
    """
    unchanged = (
        Run.id == row.id,
        Run.state == RunState.RUNNING,
        Run.round == row.round,
        Run.batches == row.batches,
        Run.batches_scored == row.batches_scored,
        Run.batches_failed == row.batches_failed,
    )
    values = {"round": max(row.round, step.number), "batches": Run.batches + len(rows), "dispatched_at": None}
    moved = session.execute(update(Run).where(*unchanged).values(**values).returning(Run.id)).first()
    if moved is None:
        raise StaleState(f"run {row.id} is no longer at the end of round {row.round}")
    network = session.execute(select(Run.network_id).where(Run.id == row.id)).scalar_one()
    requests = feature_requests(session, network)
    for batch, images in rows:
        features = ask(session, requests, images["images_sha256"], batch["count"], now=now)
        stamped = {**batch, "due_at": features.due_at(now), "created_at": now}
        batch_id = session.execute(insert(Batch).values(stamped).returning(Batch.id)).scalar_one()
        session.execute(insert(BatchImages).values(**images, batch_id=batch_id))
        if requests:
            session.execute(insert(BatchFeatures), features.links_to(BatchFeatures, batch_id))
    record_event(session, "runs", row.id, RunState.RUNNING, RunState.RUNNING, now=now, why=why)
