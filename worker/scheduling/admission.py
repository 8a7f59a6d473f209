"""Whether problems may leave for their solver now: what is in flight and spent, what people said, the time.

Checked in the very transaction that writes them down as sent, one at a time for all workers, so that no
limit is overshot: what is in flight counts with its estimate, which is what the solver will charge.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import accumulate

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from schema.calendar.run_hours import RunHours
from schema.states import LIVE_RUNS, PausedBy, RunState
from schema.tables import Batch, Problem, Run
from schema.tables.costs import IN_FLIGHT
from worker.process.settings import WorkerSettings
from worker.records import spending

_LATELY, _ANSWERS = timedelta(minutes=10), 20  # which answers tell how long the next one takes
_LOCK = 0x616E6E71  # any number that nothing else in the database locks


class HoldReason(StrEnum):
    """Why a problem may not leave."""

    RUN = "run"  # its run was paused or cancelled
    ROOM = "room"  # as many as may be are in flight
    BUDGET = "budget"  # its run's budget does not suffice
    DAY = "day"  # the solver's budget of today does not suffice
    WINDOW = "window"  # its run's window is closed, or would be when the answer comes
    DEADLINE = "deadline"  # the same of its run's deadline


@dataclass(frozen=True)
class Usage:
    """What counts against the limits. Budgets in microseconds of QPU time, None: without limit.

    in_flight: problems with the solver, of all runs and workers. room: how many may be.
    queue_us: QPU time of those in flight. answer_s: the longest that an answer took lately, queue included;
    margin_s: what is added for safety. window_s, deadline_s: seconds until they are over, None: never.
    """

    run: RunState
    in_flight: int
    room: int
    run_spent_us: int
    run_budget_us: int | None
    day_spent_us: int
    day_budget_us: int | None
    queue_us: int = 0
    answer_s: float = 0.0
    margin_s: float = 0.0
    window_s: float | None = None
    deadline_s: float | None = None


@dataclass(frozen=True)
class Admission:
    """How many of the problems that want to leave may, and what holds the next one back."""

    problems: int
    reason: HoldReason | None = None


def within_limits(usage: Usage, estimates_us: Sequence[int]) -> Admission:
    """How many of the problems with these estimates may leave, the first ones first."""
    if usage.run not in LIVE_RUNS:
        return Admission(0, HoldReason.RUN)
    sums = list(accumulate(estimates_us))
    room = max(usage.room - usage.in_flight, 0)
    limits = {
        HoldReason.ROOM: min(room, len(sums)),
        HoldReason.BUDGET: within_budget(sums, usage.run_spent_us, usage.run_budget_us),
        HoldReason.DAY: within_budget(sums, usage.day_spent_us, usage.day_budget_us),
        HoldReason.WINDOW: within_time(sums, usage, usage.window_s),
        HoldReason.DEADLINE: within_time(sums, usage, usage.deadline_s),
    }
    # Of two limits the lasting one is named: who waits for room must know that the money is spent.
    lasting = (HoldReason.DEADLINE, HoldReason.BUDGET, HoldReason.DAY, HoldReason.WINDOW, HoldReason.ROOM)
    reason = min(lasting, key=lambda limit: limits[limit])
    admitted = limits[reason]
    return Admission(admitted, reason if admitted < len(sums) else None)


def read_usage(session: Session, run: int, settings: WorkerSettings, *, now: datetime) -> Usage:
    """Read what counts for a run's problems, and keep every other worker from sending until the commit."""
    if session.get_bind().dialect.name == "postgresql":  # SQLite has one writer anyway
        session.execute(select(func.pg_advisory_xact_lock(_LOCK)))
    columns = (Run.state, Run.solver, Run.budget_us, Run.window, Run.opened_until, Run.deadline_at)
    row = session.execute(select(*columns).where(Run.id == run)).one()
    hours = RunHours.of(row.window, row.opened_until, row.deadline_at)
    day_budget_us = settings.day_budget_us
    in_flight, queue_us = _in_flight(session, row.solver)
    return Usage(
        run=row.state,
        in_flight=in_flight,
        room=settings.solver_in_flight,
        run_spent_us=0 if row.budget_us is None else spending.of_run(session, run),
        run_budget_us=row.budget_us,
        day_spent_us=0 if day_budget_us is None else spending.of_day(session, row.solver, now.date()),
        day_budget_us=day_budget_us,
        queue_us=queue_us,
        answer_s=_answer_s(session, row.solver, hours, now),
        margin_s=settings.window_margin_s,
        window_s=_window_s(hours, now),
        deadline_s=None if hours.deadline_at is None else (hours.deadline_at - now).total_seconds(),
    )


def pause_reason(usage: Usage, by: PausedBy, next_us: int) -> str:
    """Why a run was paused, for people."""
    if by in (PausedBy.WINDOW, PausedBy.DEADLINE):
        wait_s = _wait_s(usage, next_us)
        what = "window closes" if by is PausedBy.WINDOW else "deadline is over"
        return f"the next answer takes up to {wait_s:,.1f} s, and its {what} before: nothing more is sent"
    if by is PausedBy.DAY:
        spent, budget = usage.day_spent_us, usage.day_budget_us or 0
        return (
            f"the next problem takes {next_us / 1e6:g} s of QPU time, and of today's budget of "
            f"{budget / 1e6:g} s {spent / 1e6:g} s are spent: it goes on tomorrow (UTC), or with a higher "
            "ANNEALQ_WORKER_DAY_BUDGET_S and `annealq runs resume`"
        )
    spent, budget = usage.run_spent_us, usage.run_budget_us or 0
    return (
        f"the next problem takes {next_us / 1e6:g} s of QPU time, and of the run's budget of "
        f"{budget / 1e6:g} s {spent / 1e6:g} s are spent: `annealq runs resume RUN --budget SECONDS` raises "
        "it"
    )


def _in_flight(session: Session, solver: str) -> tuple[int, int]:
    """Problems with a solver, and their QPU time by their estimates, microseconds."""
    # For each problem in flight, of which there are few: PostgreSQL would join all batches that there are.
    theirs = select(Run.solver).join(Batch).where(Batch.id == Problem.batch_id).scalar_subquery()
    query = select(func.count(), func.coalesce(func.sum(Problem.estimated_us), 0))
    row = session.execute(query.where(Problem.state.in_(IN_FLIGHT), theirs == solver)).one()
    return row[0], int(row[1] or 0)


def _window_s(hours: RunHours, now: datetime) -> float | None:
    if not hours.is_open(now):
        return 0.0
    closes = hours.closes(now)
    return None if closes is None else (closes - now).total_seconds()


def _answer_s(session: Session, solver: str, hours: RunHours, now: datetime) -> float:
    """The longest that the solver's latest answers took; 0 where it does not matter, or none is known.

    What was left in flight over a pause, and collected much later, was sent long ago and does not count.
    """
    if hours.windows is None and hours.deadline_at is None:
        return 0.0
    query = (
        select(Problem.sending_at, Problem.answered_at)
        .join(Batch, Batch.id == Problem.batch_id)
        .join(Run, Run.id == Batch.run_id)
        .where(Run.solver == solver, Problem.sending_at >= now - _LATELY, Problem.answered_at.is_not(None))
        .order_by(Problem.sending_at.desc())
        .limit(_ANSWERS)
    )
    rows = session.execute(query).all()
    took = [(answered - sent).total_seconds() for sent, answered in rows if sent and answered]
    return max(took, default=0.0)


def _wait_s(usage: Usage, total_us: int) -> float:
    """Until the last of problems with so much QPU time is answered, if they are sent now."""
    return max(usage.answer_s, (usage.queue_us + total_us) / 1e6) + usage.margin_s


def within_time(sums: Sequence[int], usage: Usage, left_s: float | None) -> int:
    if left_s is None:
        return len(sums)
    return sum(_wait_s(usage, total) <= left_s for total in sums)


def within_budget(sums: Sequence[int], spent_us: int, budget_us: int | None) -> int:
    if budget_us is None:
        return len(sums)
    return sum(spent_us + total <= budget_us for total in sums)
