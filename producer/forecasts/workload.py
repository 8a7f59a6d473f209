"""Database queries behind `annealq plan`: pending work, estimates and past activity."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import and_, case, func, or_, select
from sqlalchemy.orm import Session

from producer.progress.rounds_to_come import plans_of, relative_cost, rounds_to_come
from producer.runs import qpus, queries
from schema.calendar.run_hours import RunHours
from schema.calendar.windows import Windows
from schema.network.architecture import Architecture
from schema.parameters import Parameters, Solver
from schema.quantities import count_text
from schema.states import BatchState, PausedBy, PreparationState, ProblemState, RunState
from schema.tables import Batch, Event, Intake, Network, Preparation, Problem, Run
from schema.tables.costs import charge_ratio, round_charge
from schema.tables.runs import is_being_read

_UNFINISHED = (RunState.QUEUED, RunState.RUNNING, RunState.PAUSED)
_UNSAMPLED = (BatchState.PENDING, BatchState.SAMPLING)
# Parameters that change neither the QPU time of a problem nor the number of its images.
_IRRELEVANT = ("seed", "rule", "fraction", "beta", "gauge", "unembedding", "confidence", "by_class")
_SWEEPS = 40  # default of the local annealer
_UPDATES_PER_S = 526 * 50 * 100 * _SWEEPS  # units of `mnist`, reads and sweeps: docs/figures.md, on 2 cores
_NEWEST = 50  # runs or dry runs that are searched for an estimate


@dataclass(frozen=True)
class WaitingRun:
    """A run that is not finished, and its remaining work. None: unknown.

    Attributes:
        images: images that are not submitted yet, with those that its source announces.
        problems, qpu_us: problems and QPU time in microseconds that they need; 0 without qubits.
        seconds: time that they occupy the solver.
        budget_us: QPU time that the run may still be charged, microseconds; None: no limit.
        basis: source of these estimates, for display.
    """

    run_id: int
    name: str
    solver: str
    priority: int
    paused_by: PausedBy | None
    hours: RunHours
    images: int
    problems: int | None
    qpu_us: int | None
    seconds: float | None
    budget_us: float | None
    basis: str


@dataclass(frozen=True)
class Pace:
    """Images in a problem (``tiles``), and QPU time of a full problem in microseconds (``problem_us``)."""

    tiles: int
    problem_us: int
    basis: str


@dataclass(frozen=True)
class RunActivity:
    """Activity of a run since a time.

    Attributes:
        images: images scored; left_images: images not submitted yet.
        problems: problems answered.
        charged_us, wasted_us: QPU time charged, and charged for duplicates or lost answers, microseconds.
        failed_problems, failed_batches: numbers of failures.
        remark: error of the run, or why it is paused.
    """

    run_id: int
    name: str
    solver: str
    state: RunState
    images: int
    left_images: int
    problems: int
    charged_us: float
    wasted_us: float
    failed_problems: int
    failed_batches: int
    remark: str | None


def waiting_runs(session: Session) -> list[WaitingRun]:
    """Return unfinished runs by priority, read by ``session``, without those that rescore stored samples."""
    query = (
        select(Run)
        .where(Run.state.in_(_UNFINISHED), Run.rescored_from.is_(None))
        .order_by(Run.priority.desc(), Run.id)
    )
    return [_waiting(session, run) for run in session.execute(query).scalars()]


def seconds_ahead(session: Session, solver: Solver, priority: int) -> float:
    """Return the seconds that the unfinished runs of ``priority`` or above occupy ``solver``, by ``session``.

    Those whose duration is unknown do not count.
    """
    runs = waiting_runs(session)
    return sum(run.seconds or 0.0 for run in runs if run.solver == solver and run.priority >= priority)


def compared_qpus(session: Session, waiting: Sequence[WaitingRun]) -> dict[int, list[dict[str, Any]]]:
    """Return the QPUs of those of ``waiting`` that have a dry run with their parameters, by run.

    They are as `producer.runs.qpus.with_experience` says; QPU time, hours and images are in proportion to the
    images that are left.
    """
    found = {}
    for each in waiting:
        run = session.execute(select(Run).where(Run.id == each.run_id)).scalar_one()
        like = _dry_run_like(session, run) if Solver(run.solver).is_remote else None
        if like is None or not like[1].get("qpus"):
            continue
        plan = like[1]
        share = each.images / plan["images"]
        rows = [
            {
                **row,
                "qpu_us": None if row["qpu_us"] is None else round(share * row["qpu_us"]),
                "hours": None if row["hours"] is None else round(share * row["hours"], 6),
                "images": round(share * row["images"]),
            }
            for row in plan["qpus"]
        ]
        measured = qpus.measured_accuracies(session, run.network_id, run.parameters["visible"])
        found[each.run_id] = qpus.with_experience(rows, measured, each.budget_us)
    return found


def activity_since(session: Session, since: datetime) -> list[RunActivity]:
    """Return the activity of runs that worked or finished ``since`` then, read by ``session``."""
    scored = select(Batch.run_id).where(Batch.scored_at >= since)
    submitted = select(Batch.run_id).join(Problem, Problem.batch_id == Batch.id)
    moved = or_(Problem.answered_at >= since, Problem.sending_at >= since)
    active = or_(Run.finished_at >= since, Run.id.in_(scored), Run.id.in_(submitted.where(moved)))
    query = select(Run).where(active, Run.rescored_from.is_(None)).order_by(Run.id)
    return [_ran(session, run, since) for run in session.execute(query).scalars()]


def last_window_opened(session: Session, now: datetime) -> datetime:
    """Return when the latest window of last week's runs opened before ``now``; default: 24 hours ago."""
    lately = or_(Run.finished_at.is_(None), Run.finished_at >= now - timedelta(days=7))
    rows = session.execute(select(Run.window).where(Run.window.is_not(None), lately)).scalars()
    texts = {(tuple(row["spans"]), row["zone"]) for row in rows if row is not None}
    opened = [Windows.parse(spans, zone).last_opened(now) for spans, zone in texts]
    return max((time for time in opened if time is not None), default=now - timedelta(days=1))


def _waiting(session: Session, run: Run) -> WaitingRun:
    to_come = _to_come(session, run.id)
    left = [*_left(session, run.id), *(to_come or ())]
    images = sum(left)
    problems, qpu_us, seconds, basis = _estimate(session, run, left)
    if to_come is None:
        basis += "; more images are being read, its source does not say how many"
    spending = queries.spending_of_run(session, run.id)
    spent_us = spending.charged_us + spending.in_flight_us
    return WaitingRun(
        run_id=run.id,
        name=run.name,
        solver=run.solver,
        priority=run.priority,
        paused_by=run.paused_by if run.state is RunState.PAUSED else None,
        hours=RunHours.of(run.window, run.opened_until, run.deadline_at),
        images=images,
        problems=problems,
        qpu_us=qpu_us,
        seconds=seconds,
        budget_us=None if run.budget_us is None else round_charge(run.budget_us - spent_us),
        basis=basis,
    )


def _left(session: Session, run: int) -> list[int]:
    """Return the images of each batch of a run that are not submitted yet."""
    submitted = (ProblemState.SENDING, ProblemState.SENT, ProblemState.ANSWERED)
    sent = func.coalesce(func.sum(case((Problem.state.in_(submitted), Problem.count), else_=0)), 0)
    rows = session.execute(
        select(Batch.count, sent)
        .outerjoin(Problem, Problem.batch_id == Batch.id)
        .where(Batch.run_id == run, Batch.state.in_(_UNSAMPLED))
        .group_by(Batch.id, Batch.count)
    )
    return [count - int(done) for count, done in rows if count > done]


def _to_come(session: Session, run: int) -> list[int] | None:
    """Return the images of each batch that will be read of the source of ``run``; None: it does not say."""
    query = select(Intake.batch_size, Intake.rows, Intake.total).join(Run, Run.id == Intake.id)
    row = session.execute(query.where(Intake.id == run, is_being_read())).first()
    if row is None:
        return []
    if row.total is None:
        return None
    whole, rest = divmod(max(row.total - row.rows, 0), row.batch_size)
    return [row.batch_size] * whole + [rest] * bool(rest)


def _estimate(
    session: Session, run: Run, left: list[int]
) -> tuple[int | None, int | None, float | None, str]:
    """Return problems, QPU time and seconds that the images ``left`` of each batch need, and the basis."""
    rounds = rounds_to_come(session, run)
    if not left and not rounds:
        return 0, 0, 0.0, "nothing left to submit"
    if not Solver(run.solver).is_remote:
        images = sum(left) + math.ceil(sum(each.images * each.times for each in rounds))
        seconds, basis = _measured_s(session, run, images)
        return 0, 0, seconds, basis
    pace = _pace(session, run)
    if pace is None:
        return None, None, None, "no estimate: run `annealq classify ... --dry-run`"
    problems = sum(-(-images // pace.tiles) for images in left)
    qpu_us, basis = problems * pace.problem_us, pace.basis
    for each in rounds:
        count = -(-each.images // pace.tiles)
        problems += count
        qpu_us += round(count * each.times * pace.problem_us)
        basis += f"; {count_text(each.images, 'image')} again{'' if each.known else ' at most'}"
    return problems, qpu_us, qpu_us / 1e6, basis


def _pace(session: Session, run: Run) -> Pace | None:
    """Return the pace of the run's own problems, of a similar run, or of a similar dry run."""
    unsampled = select(func.min(Batch.round)).where(Batch.run_id == run.id, Batch.state.in_(_UNSAMPLED))
    number = session.execute(unsampled).scalar() or run.round  # an earlier one, if its batches were resumed
    own = _pace_of(session, run.id, "its own problems", number)
    if own is not None:
        return own
    if number > 1 and (first := _pace_of(session, run.id, "problems of its first round")) is not None:
        parameters = Parameters.from_dict(run.parameters)
        reads = (parameters.rounds or ())[number - 2].reads
        times = relative_cost(plans_of(session, run), reads, parameters.reads)
        return Pace(first.tiles, round(times * first.problem_us), first.basis)
    others = (
        select(Run.id, Run.parameters)
        .where(Run.network_id == run.network_id, Run.solver == run.solver, Run.id != run.id)
        .order_by(Run.id.desc())
        .limit(_NEWEST)
    )
    for other, parameters in session.execute(others).all():
        if _relevant(parameters) == _relevant(run.parameters):
            pace = _pace_of(session, other, f"run {other}")
            if pace is not None:
                return pace
    return _pace_of_dry_run(session, run)


def _pace_of(session: Session, run: int, basis: str, number: int = 1) -> Pace | None:
    """Return the pace of the problems of round ``number`` of ``run``; other rounds have other reads."""
    row = session.execute(
        select(Problem.count.label("images"), Problem.estimated_us, Problem.graph_id)
        .join(Batch, Batch.id == Problem.batch_id)
        .where(Batch.run_id == run, Batch.round == number, Problem.estimated_us.is_not(None))
        .order_by(Problem.count.desc())
        .limit(1)
    ).first()
    if row is None:
        return None
    ratio = charge_ratio(session, row.graph_id or "")
    return Pace(row.images, round(ratio * row.estimated_us), basis)


def _pace_of_dry_run(session: Session, run: Run) -> Pace | None:
    if (found := _dry_run_like(session, run)) is None:
        return None
    number, plan = found
    return Pace(plan["tiles"], -(-plan["qpu_us"] // plan["problems"]), f"dry run {number}")


def _dry_run_like(session: Session, run: Run) -> tuple[int, dict[str, Any]] | None:
    """Return number and plan of the newest dry run with the parameters of ``run``."""
    query = (
        select(Preparation.id, Preparation.parameters, Preparation.plan)
        .where(
            Preparation.network_id == run.network_id,
            Preparation.solver == run.solver,
            Preparation.state == PreparationState.READY,
            Preparation.images > 0,
        )
        .order_by(Preparation.id.desc())
        .limit(_NEWEST)
    )
    for number, parameters, plan in session.execute(query).all():
        if plan and plan["problems"] and _relevant(parameters) == _relevant(run.parameters):
            return number, plan
    return None


def _measured_s(session: Session, run: Run, images: int) -> tuple[float | None, str]:
    """Return the seconds on a solver of this machine, scaled by reads from the newest run of the network."""
    query = (
        select(Run.id, Run.parameters, Run.statistics)
        .where(Run.network_id == run.network_id, Run.solver == run.solver, Run.statistics.is_not(None))
        .order_by(Run.id.desc())
        .limit(_NEWEST)
    )
    for other, parameters, statistics in session.execute(query).all():
        rate = (statistics or {}).get("images_per_second")
        if rate and parameters.get("sweeps") == run.parameters.get("sweeps"):
            return images / rate * run.parameters["reads"] / parameters["reads"], f"run {other}"
    return _assumed_s(session, run, images)


def _assumed_s(session: Session, run: Run, images: int) -> tuple[float | None, str]:
    """Return the seconds by the throughput of `mnist` in docs/figures.md, scaled by units and reads."""
    if run.solver != Solver.LOCAL:
        return None, "no run of this network and solver has been measured yet"
    architecture = session.execute(
        select(Network.architecture).where(Network.id == run.network_id)
    ).scalar_one()
    parameters = run.parameters
    updates = (
        Architecture.from_dict(architecture).units
        * parameters["reads"]
        * (parameters.get("sweeps") or _SWEEPS)
    )
    return images * updates / _UPDATES_PER_S, "assumed: nothing measured, 526 images/s of mnist on 2 cores"


def _relevant(parameters: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in parameters.items() if name not in _IRRELEVANT}


def _ran(session: Session, run: Run, since: datetime) -> RunActivity:
    images = session.execute(
        select(func.coalesce(func.sum(Batch.count), 0)).where(
            Batch.run_id == run.id, Batch.scored_at >= since, Batch.round == 1
        )
    ).scalar_one()
    batches = select(Batch.id).where(Batch.run_id == run.id)
    failed = (Event.subject == "batches", Event.target == BatchState.FAILED, Event.at >= since)
    failed_batches = session.execute(select(func.count()).where(*failed, Event.row.in_(batches))).scalar_one()
    charges = _charges(session, run.id, since)
    return RunActivity(
        run_id=run.id,
        name=run.name,
        solver=run.solver,
        state=run.state,
        images=int(images),
        left_images=sum(_left(session, run.id)) + sum(_to_come(session, run.id) or ()),
        problems=charges.problems,
        charged_us=round_charge(charges.charged),
        wasted_us=round_charge(charges.wasted),
        failed_problems=charges.failed,
        failed_batches=failed_batches,
        remark=run.error or (run.pause_reason if run.state is RunState.PAUSED else None),
    )


def _charges(session: Session, run: int, since: datetime) -> Any:
    answered = Problem.answered_at >= since
    # Charges for duplicates and lost answers have no time of their own: they count when the problem was sent.
    sent = Problem.sending_at >= since
    return session.execute(
        select(
            func.count().filter(and_(answered, Problem.sending_at.is_not(None))).label("problems"),
            func.coalesce(func.sum(Problem.charged_us).filter(answered), 0).label("charged"),
            func.coalesce(func.sum(Problem.wasted_us).filter(sent), 0).label("wasted"),
            func.count().filter(and_(sent, Problem.state == ProblemState.FAILED)).label("failed"),
        )
        .join(Batch, Batch.id == Problem.batch_id)
        .where(Batch.run_id == run)
    ).one()
