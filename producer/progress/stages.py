"""Counts the images of a run in each stage, says what it waits for, and estimates when it is done."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row, func, select
from sqlalchemy.orm import Session

from producer.progress.batches import BatchesUnderWay, batches_under_way
from producer.progress.intake import IntakeProgress, intake_of
from producer.progress.reasons import featured_images, why_waiting
from producer.progress.rounds_to_come import plans_of, relative_cost, rounds_to_come
from producer.progress.searches import search_of
from schema.errors import NotFound
from schema.parameters import Parameters, Solver
from schema.states import FINISHED_BATCHES, FINISHED_RUNS, BatchState, RunState
from schema.tables import Batch, Classification, Problem, Run
from schema.tables.runs import is_answered

_UNFINISHED = frozenset(BatchState) - frozenset(FINISHED_BATCHES)
_ROW = select(
    Run.id,
    Run.network_id,
    Run.state,
    Run.images,
    Run.error,
    Run.solver,
    Run.parameters,
    Run.qpu,
    Run.priority,
    Run.started_at,
    Run.paused_by,
    Run.pause_reason,
    Run.round,
    Run.calibrated_by,
    Run.rescored_from,
)


@dataclass(frozen=True)
class ImageProgress:
    """Images of a run in each stage.

    Attributes:
        sampled: scored ones included.
        search: step and fraction of a search for an embedding that it waits for.
        waits: why it does not continue, if it will without a user.
        began_at: when the first problem of its round was sent, or, without qubits, its first batch was begun.
        latest_at: when images were sampled last, or ``under_way`` was read.
        under_way: what is done of batches that are sampled without qubits, if that can be told.
        round: of reads, in progress: an earlier one, while its resumed batches are worked on. In a later
            one some images are read again: ``sampled``, ``scored`` and ``failed`` are those of the first.
        featured: images that have feature vectors, while others wait for theirs; None: none waits.
        again: images that are read in a later round; ``again_sampled`` of them are.
        to_come: what rounds that have not begun are expected to read, in images of the round in progress.
        intake: how far its images are read from their source, if that has not ended.
    """

    state: RunState
    images: int
    sampled: int
    scored: int
    failed: int
    error: str | None
    search: Mapping[str, Any] | None = None
    waits: str | None = None
    began_at: datetime | None = None
    latest_at: datetime | None = None
    under_way: BatchesUnderWay | None = None
    round: int = 1
    again: int = 0
    again_sampled: int = 0
    to_come: float = 0.0
    intake: IntakeProgress | None = None

    @property
    def expected(self) -> int:
        """Return the images that the run will have, as far as its source says."""
        return self.images + (0 if self.intake is None else self.intake.to_come or 0)

    featured: int | None = None

    def left_s(self, now: datetime) -> float | None:
        """Estimate the seconds from ``now`` until all images of all rounds are sampled, by the rate so far.

        The rate is that until images were sampled last, since they come in whole batches or problems; of
        batches without qubits, what is under way counts. None: it is not known, as nothing is sampled yet, or
        the run waits.
        """
        images, done = self.expected, self.sampled + self.failed
        if self.round > 1:
            images, done = self.again, self.again_sampled
        if self.began_at is None or self.latest_at is None or self.waits is not None or not done:
            return None
        if self.intake is not None and self.intake.total is None:
            return None
        took_s, least_s = (self.latest_at - self.began_at).total_seconds(), 0.0
        left = float(images - done)
        if self.under_way is not None:
            left, least_s = left - self.under_way.images, self.under_way.least_s
        image_s = took_s / (images - left)
        left_s = max(image_s * left, least_s) - (now - self.latest_at).total_seconds()
        return max(left_s, 0.0) + image_s * self.to_come


def progress_of(session: Session, run_id: int, now: datetime) -> ImageProgress:
    """Return how many images of run ``run_id`` are in each stage ``now``; raise NotFound."""
    row = session.execute(_ROW.where(Run.id == run_id)).first()
    if row is None:
        raise _missing(run_id)
    in_rounds = _stages(session, run_id)
    number = min((each for each, found in in_rounds.items() if found.keys() & _UNFINISHED), default=row.round)
    stages, now_stages = in_rounds.get(1, {}), in_rounds.get(number, {})
    scored, failed = stages.get(BatchState.SCORED, 0), stages.get(BatchState.FAILED, 0)
    if failed:  # of a failed batch, some images may be classified
        classified = select(func.count()).where(Classification.run_id == run_id)
        partly = min(max(session.execute(classified).scalar_one() - scored, 0), failed)
        scored, failed = scored + partly, failed - partly
    answered, search, under_way = 0, None, None
    times = select(func.min(Batch.started_at), func.max(Batch.sampled_at))
    times = times.where(Batch.run_id == run_id, Batch.round == number)
    began_at, latest_at = session.execute(times).one()
    if number == 1:
        began_at = row.started_at
    if Solver(row.solver).is_remote:
        began_at, latest_at = _problem_times(session, run_id, number)
        if {BatchState.PENDING, BatchState.SAMPLING} & now_stages.keys():
            answered, search = _answered(session, run_id, number), search_of(session, row)
    elif BatchState.SAMPLING in now_stages:
        under_way = batches_under_way(session, run_id, number, now)
        latest_at = latest_at if under_way is None else now
    sampled = scored + stages.get(BatchState.SAMPLED, 0)
    again_sampled = 0
    if number == 1:
        sampled += answered
    else:
        ended = (BatchState.SAMPLED, BatchState.SCORED, BatchState.FAILED)
        again_sampled = answered + sum(now_stages.get(state, 0) for state in ended)
    if number < row.round:
        began_at = None  # its resumed batches have waited since: no rate follows from these times
    intake = intake_of(session, run_id, now)
    waits = why_waiting(session, row, frozenset(now_stages), now)
    return ImageProgress(
        state=row.state,
        images=row.images,
        sampled=sampled,
        scored=scored,
        failed=failed,
        error=row.error,
        search=search,
        waits=waits or _why_idle(intake, frozenset(now_stages)),
        began_at=began_at,
        latest_at=latest_at,
        under_way=under_way,
        round=number,
        again=sum(now_stages.values()) if number > 1 else 0,
        again_sampled=again_sampled,
        to_come=_to_come(session, row),
        intake=intake,
        featured=featured_images(session, run_id) if BatchState.PENDING in now_stages else None,
    )


def _to_come(session: Session, row: Row[Any]) -> float:
    """Return what rounds that have not begun are expected to read, in images of the round in progress."""
    rounds = rounds_to_come(session, row)
    if not rounds:
        return 0.0
    parameters = Parameters.from_dict(row.parameters)
    now = (parameters.reads, *(each.reads for each in parameters.rounds or ()))[row.round - 1]
    times = relative_cost(plans_of(session, row), now, parameters.reads)
    return sum(each.images * each.times for each in rounds if each.known) / times


def _stages(session: Session, run_id: int) -> dict[int, dict[BatchState, int]]:
    """Return the images of a run by round of reads and by state of their batches."""
    query = select(Batch.round, Batch.state, func.sum(Batch.count)).where(Batch.run_id == run_id)
    found: dict[int, dict[BatchState, int]] = {}
    for number, state, images in session.execute(query.group_by(Batch.round, Batch.state)):
        found.setdefault(number, {})[state] = int(images)
    return found


def waits_of(session: Session, run_id: int, now: datetime) -> str | None:
    """Return why run ``run_id`` does not continue ``now``, if it will without a user; raise NotFound."""
    run = session.execute(_ROW.where(Run.id == run_id)).first()
    if run is None:
        raise _missing(run_id)
    if run.state in FINISHED_RUNS:
        return None
    states = session.execute(select(Batch.state).where(Batch.run_id == run_id).distinct()).scalars()
    found = frozenset(states)
    return why_waiting(session, run, found, now) or _why_idle(intake_of(session, run_id, now), found)


def _why_idle(intake: IntakeProgress | None, states: frozenset[BatchState]) -> str | None:
    """Return why a run has no more batches in the unfinished ``states``: its images are not all read."""
    return None if intake is None or states & _UNFINISHED else intake.text


def _missing(run_id: int) -> NotFound:
    return NotFound(f"no run {run_id}: `annealq runs list` shows all runs")


def _problem_times(session: Session, run_id: int, number: int) -> tuple[datetime | None, datetime | None]:
    """Return when the first problem of a round of a run was sent, and when the latest was answered."""
    times = select(func.min(Problem.sending_at), func.max(Problem.answered_at))
    times = times.join(Batch, Batch.id == Problem.batch_id)
    times = times.where(Batch.run_id == run_id, Batch.round == number)
    first, latest = session.execute(times).one()
    return first, latest


def _answered(session: Session, run_id: int, number: int) -> int:
    """Return the images with answered problems in unfinished batches of round ``number``."""
    answered = session.execute(
        select(func.coalesce(func.sum(Problem.count), 0))
        .join(Batch, Batch.id == Problem.batch_id)
        .where(
            Batch.run_id == run_id,
            Batch.round == number,
            Batch.state.in_([BatchState.PENDING, BatchState.SAMPLING]),
            is_answered(),
        )
    ).scalar_one()
    return int(answered)
