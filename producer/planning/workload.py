"""What the night is planned from, and what became of it: reads for `annealq plan`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import and_, case, func, or_, select
from sqlalchemy.orm import Session

from producer.planning.forecast import WaitingRun
from producer.runs import control
from schema.calendar.run_hours import Hours
from schema.calendar.windows import Windows
from schema.parameters import Solver
from schema.states import BatchState, PreparationState, ProblemState, RunState
from schema.tables import Batch, Event, Preparation, Problem, Run

_UNFINISHED = (RunState.QUEUED, RunState.RUNNING, RunState.PAUSED)
_UNSAMPLED = (BatchState.PENDING, BatchState.SAMPLING)
# What changes neither the QPU time of a problem nor how many images it carries.
_FREE = ("seed", "rule", "fraction", "beta", "unembedding")
_LOOKED_AT = 50  # runs or dry runs, the newest ones, that an estimate may come from


@dataclass(frozen=True)
class Pace:
    """What images take on a solver. tiles: in one problem. problem_us: of QPU time for a full one."""

    tiles: int
    problem_us: int
    basis: str


@dataclass(frozen=True)
class RunActivity:
    """What a run did since some time. QPU time in microseconds; wasted: charged for nothing that is kept.

    failed_problems, failed_batches: since then, too.
    """

    run_id: int
    name: str
    solver: str
    state: RunState
    images: int
    left_images: int
    problems: int
    charged_us: int
    wasted_us: int
    failed_problems: int
    failed_batches: int
    remark: str | None


def waiting_runs(session: Session) -> list[WaitingRun]:
    """The runs that are not done, the most urgent first; not those that score stored samples again."""
    query = (
        select(Run)
        .where(Run.state.in_(_UNFINISHED), Run.rescored_from.is_(None))
        .order_by(Run.priority.desc(), Run.id)
    )
    return [_waiting(session, run) for run in session.execute(query).scalars()]


def activity_since(session: Session, since: datetime) -> list[RunActivity]:
    """The runs that did something since then, or ended."""
    scored = select(Batch.run_id).where(Batch.scored_at >= since)
    asked = select(Batch.run_id).join(Problem, Problem.batch_id == Batch.id)
    moved = or_(Problem.answered_at >= since, Problem.sending_at >= since)
    did = or_(Run.finished_at >= since, Run.id.in_(scored), Run.id.in_(asked.where(moved)))
    query = select(Run).where(did, Run.rescored_from.is_(None)).order_by(Run.id)
    return [_ran(session, run, since) for run in session.execute(query).scalars()]


def last_window_opened(session: Session, now: datetime) -> datetime:
    """When the latest window of a run of the last week opened; 24 hours ago where there was none."""
    lately = or_(Run.finished_at.is_(None), Run.finished_at >= now - timedelta(days=7))
    rows = session.execute(select(Run.window).where(Run.window.is_not(None), lately)).scalars()
    texts = {(tuple(row["spans"]), row["zone"]) for row in rows if row is not None}
    opened = [Windows.parse(spans, zone).last_opened(now) for spans, zone in texts]
    return max((at for at in opened if at is not None), default=now - timedelta(days=1))


def _waiting(session: Session, run: Run) -> WaitingRun:
    left = _left(session, run.id)
    images = sum(left)
    problems, qpu_us, seconds, basis = _takes(session, run, left)
    cost = control.spending_of_run(session, run.id)
    spent_us = cost.charged_us + cost.in_flight_us
    return WaitingRun(
        run_id=run.id,
        name=run.name,
        solver=run.solver,
        priority=run.priority,
        paused_by=run.paused_by if run.state is RunState.PAUSED else None,
        hours=Hours.of(run.window, run.opened_until, run.deadline_at),
        images=images,
        problems=problems,
        qpu_us=qpu_us,
        seconds=seconds,
        budget_us=None if run.budget_us is None else run.budget_us - spent_us,
        basis=basis,
    )


def _left(session: Session, run: int) -> list[int]:
    """Images of each batch of a run that are still to be sent."""
    covered = (ProblemState.SENDING, ProblemState.SENT, ProblemState.ANSWERED)
    sent = func.coalesce(func.sum(case((Problem.state.in_(covered), Problem.count), else_=0)), 0)
    rows = session.execute(
        select(Batch.count, sent)
        .outerjoin(Problem, Problem.batch_id == Batch.id)
        .where(Batch.run_id == run, Batch.state.in_(_UNSAMPLED))
        .group_by(Batch.id, Batch.count)
    )
    return [count - int(done) for count, done in rows if count > done]


def _takes(session: Session, run: Run, left: list[int]) -> tuple[int | None, int | None, float | None, str]:
    """Problems, QPU time and seconds that so many images of each batch take, and what that is known from."""
    if not left:
        return 0, 0, 0.0, "all images are sent"
    if not Solver(run.solver).is_remote:
        seconds, basis = _measured_s(session, run, sum(left))
        return 0, 0, seconds, basis
    pace = _pace(session, run)
    if pace is None:
        return None, None, None, "no estimate: `annealq classify ... --dry-run` makes one"
    problems = sum(-(-images // pace.tiles) for images in left)
    qpu_us = problems * pace.problem_us
    return problems, qpu_us, qpu_us / 1e6, pace.basis


def _pace(session: Session, run: Run) -> Pace | None:
    """From the run's own problems, those of another run that is alike, or a dry run that is."""
    own = _pace_of(session, run.id, "its own problems")
    if own is not None:
        return own
    alike = (
        select(Run.id, Run.parameters)
        .where(Run.network_id == run.network_id, Run.solver == run.solver, Run.id != run.id)
        .order_by(Run.id.desc())
        .limit(_LOOKED_AT)
    )
    for other, parameters in session.execute(alike).all():
        if _what_counts(parameters) == _what_counts(run.parameters):
            found = _pace_of(session, other, f"run {other}")
            if found is not None:
                return found
    return _pace_of_dry_run(session, run)


def _pace_of(session: Session, run: int, basis: str) -> Pace | None:
    row = session.execute(
        select(Problem.count.label("images"), Problem.estimated_us)
        .join(Batch, Batch.id == Problem.batch_id)
        .where(Batch.run_id == run, Problem.estimated_us.is_not(None))
        .order_by(Problem.count.desc())
        .limit(1)
    ).first()
    return None if row is None else Pace(row.images, row.estimated_us, basis)


def _pace_of_dry_run(session: Session, run: Run) -> Pace | None:
    query = (
        select(Preparation.id, Preparation.parameters, Preparation.plan)
        .where(
            Preparation.network_id == run.network_id,
            Preparation.solver == run.solver,
            Preparation.state == PreparationState.READY,
            Preparation.images > 0,
        )
        .order_by(Preparation.id.desc())
        .limit(_LOOKED_AT)
    )
    for number, parameters, plan in session.execute(query).all():
        if plan and plan["problems"] and _what_counts(parameters) == _what_counts(run.parameters):
            return Pace(plan["tiles"], -(-plan["qpu_us"] // plan["problems"]), f"dry run {number}")
    return None


def _measured_s(session: Session, run: Run, images: int) -> tuple[float | None, str]:
    """Seconds on a solver of this machine, from the newest run of the same network, by its reads."""
    query = (
        select(Run.id, Run.parameters, Run.statistics)
        .where(Run.network_id == run.network_id, Run.solver == run.solver, Run.statistics.is_not(None))
        .order_by(Run.id.desc())
        .limit(_LOOKED_AT)
    )
    for other, parameters, statistics in session.execute(query).all():
        rate = (statistics or {}).get("images_per_second")
        if rate and parameters.get("sweeps") == run.parameters.get("sweeps"):
            return images / rate * run.parameters["reads"] / parameters["reads"], f"run {other}"
    return None, "no run of this network and solver was measured yet"


def _what_counts(parameters: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in parameters.items() if name not in _FREE}


def _ran(session: Session, run: Run, since: datetime) -> RunActivity:
    images = session.execute(
        select(func.coalesce(func.sum(Batch.count), 0)).where(
            Batch.run_id == run.id, Batch.scored_at >= since
        )
    ).scalar_one()
    batches = select(Batch.id).where(Batch.run_id == run.id)
    gone = (Event.subject == "batches", Event.target == BatchState.FAILED, Event.at >= since)
    failed_batches = session.execute(select(func.count()).where(*gone, Event.row.in_(batches))).scalar_one()
    money = _money(session, run.id, since)
    return RunActivity(
        run_id=run.id,
        name=run.name,
        solver=run.solver,
        state=run.state,
        images=int(images),
        left_images=sum(_left(session, run.id)),
        problems=money.problems,
        charged_us=int(money.charged),
        wasted_us=int(money.wasted),
        failed_problems=money.failed,
        failed_batches=failed_batches,
        remark=run.error or (run.pause_reason if run.state is RunState.PAUSED else None),
    )


def _money(session: Session, run: int, since: datetime) -> Any:
    answered = Problem.answered_at >= since
    # What duplicates and lost answers cost has no time of its own: it counts when the problem was sent last.
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
