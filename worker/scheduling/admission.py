"""Admission control: how many problems may be submitted now, within the limits of problems in flight, the
budgets of QPU time, and the windows and deadlines of runs.

The limits are checked in the transaction that marks the problems as being submitted, by one worker at a time,
so none is exceeded. Problems in flight count with their estimate, which is what the solver will charge.
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

_LATELY, _ANSWERS = timedelta(minutes=10), 20  # answers that predict the duration of the next one
_LOCK = 0x616E6E71  # any number that nothing else in the database locks


class HoldReason(StrEnum):
    """Limit that holds a problem back."""

    RUN = "run"  # the run was paused or cancelled
    ROOM = "room"  # the limit of problems in flight is reached
    BUDGET = "budget"  # the run's budget does not suffice
    DAY = "day"  # the solver's budget of today does not suffice
    WINDOW = "window"  # the run's window is closed, or the answer would arrive after it closes
    DEADLINE = "deadline"  # the answer would arrive after the run's deadline


@dataclass(frozen=True)
class Usage:
    """Current usage, compared with the limits. QPU time and budgets are in microseconds; None: no limit.

    Attributes:
        in_flight: problems submitted to the solver and not answered, of all runs and workers.
        max_in_flight: their limit.
        queue_us: QPU time of those in flight.
        answer_s: longest duration of a recent answer, including its time in the queue.
        margin_s: added to it for safety.
        window_s: seconds until the window closes; None: never.
        deadline_s: seconds until the deadline; None: there is none.
    """

    run: RunState
    in_flight: int
    max_in_flight: int
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
    """Number of problems that may be submitted, and what holds the next one back."""

    problems: int
    reason: HoldReason | None = None


def within_limits(usage: Usage, estimates_us: Sequence[int]) -> Admission:
    """Return how many problems, with the charges ``estimates_us``, may be submitted given ``usage``."""
    if usage.run not in LIVE_RUNS:
        return Admission(0, HoldReason.RUN)
    sums = list(accumulate(estimates_us))
    room = max(usage.max_in_flight - usage.in_flight, 0)
    # If several limits apply, the first one is the reason: a full queue must not hide a spent budget.
    limits = {
        HoldReason.DEADLINE: within_time(sums, usage, usage.deadline_s),
        HoldReason.BUDGET: within_budget(sums, usage.run_spent_us, usage.run_budget_us),
        HoldReason.DAY: within_budget(sums, usage.day_spent_us, usage.day_budget_us),
        HoldReason.WINDOW: within_time(sums, usage, usage.window_s),
        HoldReason.ROOM: min(room, len(sums)),
    }
    reason = min(limits, key=limits.__getitem__)
    admitted = limits[reason]
    return Admission(admitted, reason if admitted < len(sums) else None)


def read_usage(session: Session, run: int, settings: WorkerSettings, *, now: datetime) -> Usage:
    """Read the usage of ``run`` at ``now``, with the limits of ``settings``.

    Other workers wait for their admission until ``session`` commits.
    """
    if session.get_bind().dialect.name == "postgresql":  # SQLite has only one writer
        session.execute(select(func.pg_advisory_xact_lock(_LOCK)))
    columns = (Run.state, Run.solver, Run.budget_us, Run.window, Run.opened_until, Run.deadline_at)
    row = session.execute(select(*columns).where(Run.id == run)).one()
    hours = RunHours.of(row.window, row.opened_until, row.deadline_at)
    day_budget_us = settings.day_budget_us
    in_flight, queue_us = _in_flight(session, row.solver)
    return Usage(
        run=row.state,
        in_flight=in_flight,
        max_in_flight=settings.solver_in_flight,
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
    """Explain to users why a run was paused ``by`` a limit in ``usage``, before a problem of ``next_us``."""
    if by in (PausedBy.WINDOW, PausedBy.DEADLINE):
        wait_s = _wait_s(usage, next_us)
        what = "window closes" if by is PausedBy.WINDOW else "deadline passes"
        return (
            f"the next answer takes up to {wait_s:,.1f} s, and the run's {what} before: nothing is submitted"
        )
    if by is PausedBy.DAY:
        spent, budget = usage.day_spent_us, usage.day_budget_us or 0
        return (
            f"the next problem takes {next_us / 1e6:g} s of QPU time, and {spent / 1e6:g} s of today's "
            f"budget of {budget / 1e6:g} s are spent: the run resumes tomorrow (UTC), or with a higher "
            "ANNEALQ_WORKER_DAY_BUDGET_S and `annealq runs resume`"
        )
    spent, budget = usage.run_spent_us, usage.run_budget_us or 0
    return (
        f"the next problem takes {next_us / 1e6:g} s of QPU time, and {spent / 1e6:g} s of the run's "
        f"budget of {budget / 1e6:g} s are spent: raise it with `annealq runs resume RUN --budget SECONDS`"
    )


def _in_flight(session: Session, solver: str) -> tuple[int, int]:
    """Return the number of problems in flight on a solver, and their estimated QPU time in microseconds."""
    # A subquery for each problem in flight, of which there are few: PostgreSQL would join all batches.
    solver_of = select(Run.solver).join(Batch).where(Batch.id == Problem.batch_id).scalar_subquery()
    query = select(func.count(), func.coalesce(func.sum(Problem.estimated_us), 0))
    row = session.execute(query.where(Problem.state.in_(IN_FLIGHT), solver_of == solver)).one()
    return row[0], int(row[1] or 0)


def _window_s(hours: RunHours, now: datetime) -> float | None:
    if not hours.is_open(now):
        return 0.0
    closes = hours.closes(now)
    return None if closes is None else (closes - now).total_seconds()


def _answer_s(session: Session, solver: str, hours: RunHours, now: datetime) -> float:
    """Return the longest duration of the solver's recent answers; 0 if it does not matter or is unknown.

    Problems that were in flight during a pause and collected much later are too old to count.
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
    durations = [(answered - sent).total_seconds() for sent, answered in rows if sent and answered]
    return max(durations, default=0.0)


def _wait_s(usage: Usage, total_us: int) -> float:
    """Return the seconds until problems of ``total_us`` in all are answered if they are submitted now."""
    return max(usage.answer_s, (usage.queue_us + total_us) / 1e6) + usage.margin_s


def within_time(sums: Sequence[int], usage: Usage, left_s: float | None) -> int:
    """Count the problems answered in ``left_s`` seconds given ``usage``; ``sums`` add up their QPU times."""
    if left_s is None:
        return len(sums)
    return sum(_wait_s(usage, total) <= left_s for total in sums)


def within_budget(sums: Sequence[int], spent_us: int, budget_us: int | None) -> int:
    """Count the problems that ``budget_us`` allows after ``spent_us``; ``sums`` add up their QPU times."""
    if budget_us is None:
        return len(sums)
    return sum(spent_us + total <= budget_us for total in sums)
