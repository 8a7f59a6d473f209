"""Begins the next round of reads of a run, or says why it ends without.

What is chosen depends on stored classifications only, which do not change while no batch is unfinished. One
guarded transaction writes the round: after a crash it is chosen again, or there.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import Enum, auto
from typing import TYPE_CHECKING, Any

import numpy as np
import structlog
from numpy.typing import NDArray
from sqlalchemy import ColumnElement, Row, and_, func, insert, select, update
from sqlalchemy.orm import Session

from schema.calendar.run_hours import RunHours
from schema.database import record_event
from schema.errors import Corrupt, StaleState
from schema.parameters import Parameters, Round, Solver
from schema.quantities import count_text, number_text
from schema.states import BatchState, PausedBy, ProblemState, RunState
from schema.tables import Batch, BatchImages, Classification, Embedding, Problem, Run, SampleSet
from schema.tables.costs import scale_charge
from worker.process.crash_points import CrashPoint, reach
from worker.rounds.images import Rows, copy_batches
from worker.rounds.selection import Selection, arrange, select_images, split
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
    with database.reading() as session:
        now = database.now(session)
        row = _read(session, run)
        wanted = None if row is None else _wanted(row)
        if row is None or wanted is None:
            return Following(Next.END)
        try:
            chosen = _choose(session, row, wanted, settings, now)
            if isinstance(chosen, str):
                return Following(Next.END, f"round {row.round + 1} is left out: {chosen}")
            if row.state is RunState.PAUSED:
                return Following(Next.WAIT)
            rows = _copy(session, row, wanted, chosen)
        except Corrupt as error:
            return Following(Next.END, f"round {row.round + 1} is left out: {error}")
    reach(CrashPoint.ROUND_CHOSEN)
    why = _text(row, wanted, chosen)
    with database.transaction() as session:
        _write(session, row, rows, why, now=database.now(session))
        reach(CrashPoint.ROUND_WRITTEN)
    log.info("round begun", round=row.round + 1, images=len(chosen.images))
    return Following(Next.ROUND, why)


def waits() -> ColumnElement[bool]:
    """Build the condition that a run is paused and has rounds left, so that it ends when it is resumed."""
    rounds = Run.parameters["rounds"]
    is_left = and_(rounds.as_string().is_not(None), Run.round <= func.json_array_length(rounds))
    return and_(Run.state == RunState.PAUSED, Run.paused_by != PausedBy.DEADLINE, is_left)


def _read(session: Session, run: int) -> Row[Any] | None:
    hours = (Run.window, Run.opened_until, Run.deadline_at)
    counts = (Run.batches, Run.batches_scored, Run.batches_failed)
    columns = (Run.id, Run.state, Run.round, Run.parameters, Run.solver, Run.images, Run.qpu, Run.graph_id)
    query = select(*columns, Run.rescored_from, Run.paused_by, *hours, *counts)
    return session.execute(query.where(Run.id == run)).first()


def _wanted(row: Row[Any]) -> Round | None:
    """Return the next round of a run whose batches are all finished; None: it has none, or has not begun."""
    rounds = Parameters.from_dict(row.parameters).rounds or ()
    finished = row.batches_scored + row.batches_failed == row.batches
    if row.state not in (RunState.RUNNING, RunState.PAUSED) or row.rescored_from is not None or not finished:
        return None
    return rounds[row.round - 1] if row.round <= len(rounds) else None


def _choose(
    session: Session, row: Row[Any], wanted: Round, settings: WorkerSettings, now: datetime
) -> Selection | str:
    """Return the images of the next round, or why there is none."""
    hours = RunHours.of(row.window, row.opened_until, row.deadline_at)
    if hours.has_expired(now) or row.paused_by is PausedBy.DEADLINE:
        return "the deadline of the run has passed"
    images, gaps = _gaps(session, row.id)
    _, tiles = _embedding(session, row.id) if Solver(row.solver).is_remote else (None, 1)
    selection = select_images(images, gaps, wanted, row.images, tiles)
    if not len(selection.images):
        return f"all images have a class and an energy gap of {number_text(wanted.gap)} or more"
    if not Solver(row.solver).is_remote:
        return selection
    needed = -(-len(selection.images) // tiles)
    problem_us = max(_charges(session, row.id, wanted.reads), default=0.0)
    paid = _affordable(session, row, problem_us, needed, settings, now)
    if paid == 0:
        return f"what is left of a budget does not pay a problem, about {number_text(problem_us / 1e6)} s"
    return select_images(images, gaps, wanted, row.images, tiles, paid)


def _gaps(session: Session, run: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return indices and energy gaps of the images in scored batches of the first round, as of `selection`.

    Batches with a failed problem are left out: a user may resume them.
    """
    c = Classification
    last = Batch.first_image + Batch.count - 1
    query = (
        select(c.image, c.predicted, c.energy_gap)
        .join(Batch, (Batch.run_id == c.run_id) & c.image.between(Batch.first_image, last))
        .where(c.run_id == run, Batch.round == 1, Batch.state == BatchState.SCORED)
    )
    rows = session.execute(query).all()
    gaps = [-np.inf if predicted is None else np.inf if gap is None else gap for _, predicted, gap in rows]
    return np.array([row[0] for row in rows], np.int64), np.array(gaps, np.float64)


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
        .where(Batch.run_id == run, Problem.state == ProblemState.ANSWERED)
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


def _copy(session: Session, row: Row[Any], wanted: Round, chosen: Selection) -> list[Rows]:
    number, images, tiles = row.round + 1, chosen.images, _FEWEST
    if Solver(row.solver).is_remote:
        embedding, tiles = _embedding(session, row.id)
        if embedding is not None:
            lay = tiles_of_images(session, row.id, number, images.tolist(), embedding, tiles)
            images = images[arrange(len(images), tiles, lay)]
    size = session.execute(
        select(func.max(Batch.count)).where(Batch.run_id == row.id, Batch.round == 1)
    ).scalar_one()
    parts = split(len(images), tiles, size)
    return copy_batches(session, row.id, images, parts, number, wanted.reads)


def _text(row: Row[Any], wanted: Round, chosen: Selection) -> str:
    """Return what the round is, for users."""
    text = (
        f"round {row.round + 1} begins: {count_text(len(chosen.images), 'image')} of {row.images:,} "
        f"read {count_text(wanted.reads, 'more time')}; {chosen.uncertain:,} have no class or an energy gap "
        f"below {number_text(wanted.gap)}"
    )
    if chosen.filled:
        text += f", {chosen.filled:,} fill the last problem"
    if chosen.unpaid:
        text += f"; the budget does not pay {chosen.unpaid:,} more"
    return text


def _write(session: Session, row: Row[Any], rows: list[Rows], why: str, *, now: datetime) -> None:
    """Insert the batches of the round, if the run is as it was.

    Raises:
        StaleState: it was halted, or another worker has begun the round.
    """
    unchanged = (
        Run.id == row.id,
        Run.state == RunState.RUNNING,
        Run.round == row.round,
        Run.batches == row.batches,
        Run.batches_scored + Run.batches_failed == Run.batches,
    )
    values = {"round": Run.round + 1, "batches": Run.batches + len(rows), "dispatched_at": None}
    moved = session.execute(update(Run).where(*unchanged).values(**values).returning(Run.id)).first()
    if moved is None:
        raise StaleState(f"run {row.id} is no longer at the end of round {row.round}")
    for batch, images in rows:
        stamped = {**batch, "due_at": now, "created_at": now}
        batch_id = session.execute(insert(Batch).values(stamped).returning(Batch.id)).scalar_one()
        session.execute(insert(BatchImages).values(**images, batch_id=batch_id))
    record_event(session, "runs", row.id, RunState.RUNNING, RunState.RUNNING, now=now, why=why)
