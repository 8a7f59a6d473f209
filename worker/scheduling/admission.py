"""Admission control: how many problems may be submitted now, within the limits of problems in flight, the
budgets of QPU time, and the windows and deadlines of runs.

The limits are checked in the transaction that marks the problems as being submitted, by one worker at a time.
Problems in flight count with their estimates times the ratio of the chip's recent charges to estimates. A
budget is exceeded by one problem at most as long as charges are below twice that: for several problems in
flight, twice as much must be left.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from functools import cache
from itertools import accumulate
from typing import Any

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

from schema.calendar.run_hours import RunHours
from schema.quantities import number_text
from schema.settings.worker import WorkerSettings
from schema.states import LIVE_RUNS, PausedBy, RunState
from schema.tables import Batch, Problem, Run
from schema.tables.costs import IN_FLIGHT, STEP_US, charge_ratio
from worker.records import spending

_LATELY, _ANSWERS = timedelta(minutes=10), 20  # answers that predict the duration of the next one
_LOCK = 0x616E6E71  # any number that nothing else in the database locks


class HoldReason(StrEnum):
    """Limit that holds a problem back."""

    RUN = "run"  # the run was paused or cancelled
    ROOM = "room"  # the limit of problems in flight is reached
    BUDGET = "budget"  # the run's budget does not suffice
    MONTH = "month"  # the solver's budget of this month does not suffice
    DAY = "day"  # the solver's budget of today does not suffice
    CAUTION = "caution"  # a budget suffices unless those in flight are charged twice their estimates
    WINDOW = "window"  # the run's window is closed, or the answer would arrive after it closes
    DEADLINE = "deadline"  # the answer would arrive after the run's deadline


_BUDGETS = (HoldReason.BUDGET, HoldReason.MONTH, HoldReason.DAY)
_CAUTION = 2.0  # charges may be that much higher than the ratio of recent ones says


@dataclass(frozen=True)
class Budget:
    """A budget of QPU time in microseconds.

    Attributes:
        limit_us: the most that may be charged.
        spent_us: charged, and expected to be charged for problems in flight.
        in_flight_us: the latter, by estimates.
        ratio: expected charge of a problem as a multiple of its estimate.
    """

    limit_us: int
    spent_us: float = 0.0
    in_flight_us: float = 0.0
    ratio: float = 1.0

    def suffices(self, next_us: float, factor: float = 1.0) -> bool:
        """Return whether problems of ``next_us`` by estimates may follow those in flight.

        Charges are assumed to be ``factor`` times as high as expected.
        """
        ratio = self.ratio * factor
        total_us = self.spent_us + (ratio - 1) * self.in_flight_us + ratio * next_us
        return total_us <= self.limit_us + STEP_US / 2


@dataclass(frozen=True)
class Usage:
    """Current usage, compared with the limits. QPU time is in microseconds; None: no limit.

    Attributes:
        in_flight: problems submitted to the QPU and not answered, of all runs and workers.
        max_in_flight: their limit.
        budgets: those that apply, by the reason for which they hold problems back.
        queue_us: QPU time of those in flight.
        answer_s: longest duration of a recent answer, including its time in the queue.
        margin_s: added to it for safety.
        window_s: seconds until the window closes; None: never.
        deadline_s: seconds until the deadline; None: there is none.
        shared: the run's budget is that of its calibration.
    """

    run: RunState
    in_flight: int
    max_in_flight: int
    budgets: Mapping[HoldReason, Budget] = field(default_factory=dict)
    queue_us: int = 0
    answer_s: float = 0.0
    margin_s: float = 0.0
    window_s: float | None = None
    deadline_s: float | None = None
    shared: bool = False


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
        **{reason: within_budget(sums, usage.budgets.get(reason)) for reason in _BUDGETS},
        HoldReason.WINDOW: within_time(sums, usage, usage.window_s),
        HoldReason.ROOM: min(room, len(sums)),
        HoldReason.CAUTION: min(with_caution(sums, budget) for budget in (*usage.budgets.values(), None)),
    }
    reason = min(limits, key=limits.__getitem__)
    admitted = limits[reason]
    return Admission(admitted, reason if admitted < len(sums) else None)


def read_usage(
    session: Session, run: int, qpu: str, graph_id: str, settings: WorkerSettings, *, now: datetime
) -> Usage:
    """Read the usage of ``run`` and of its ``qpu`` with ``graph_id`` at ``now``, with limits by ``settings``.

    Other workers wait for their admission until ``session`` commits.
    """
    take_turns(session)
    times = (Run.window, Run.opened_until, Run.deadline_at)
    columns = (Run.state, Run.solver, Run.budget_us, Run.calibrates, *times)
    row = session.execute(select(*columns).where(Run.id == run)).one()
    # The runs of a calibration share one budget.
    sharing = [run]
    if row.calibrates is not None:
        sharing = list(session.execute(select(Run.id).where(Run.calibrates == row.calibrates)).scalars())
    hours = RunHours.of(row.window, row.opened_until, row.deadline_at)
    in_flight, queue_us, of_solver_us, sharing_us = _in_flight(session, row.solver, sharing, qpu)
    today = now.date()
    budgets: dict[HoldReason, Budget] = {}
    if row.budget_us is not None:
        spent_us = spending.of_runs(session, sharing)
        budgets[HoldReason.BUDGET] = Budget(row.budget_us, spent_us, sharing_us)
    for reason, limit_us, since in (
        (HoldReason.MONTH, settings.month_budget_us, today.replace(day=1)),
        (HoldReason.DAY, settings.day_budget_us, today),
    ):
        if limit_us is not None:
            spent_us = spending.since_day(session, row.solver, since)
            budgets[reason] = Budget(limit_us, spent_us, of_solver_us)
    ratio = charge_ratio(session, graph_id) if budgets else 1.0
    return Usage(
        run=row.state,
        in_flight=in_flight,
        max_in_flight=settings.solver_in_flight,
        budgets={reason: replace(budget, ratio=ratio) for reason, budget in budgets.items()},
        queue_us=queue_us,
        answer_s=_answer_s(session, row.solver, qpu, hours, now),
        margin_s=settings.window_margin_s,
        window_s=_window_s(hours, now),
        deadline_s=None if hours.deadline_at is None else (hours.deadline_at - now).total_seconds(),
        shared=row.calibrates is not None,
    )


def take_turns(session: Session) -> None:
    """Let other workers that call this wait until ``session`` commits."""
    if session.get_bind().dialect.name == "postgresql":  # SQLite has only one writer
        session.execute(select(func.pg_advisory_xact_lock(_LOCK)))


def pause_reason(usage: Usage, by: PausedBy, next_us: int) -> str:
    """Explain to users why a run was paused ``by`` a limit in ``usage``, before a problem of ``next_us``."""
    if by in (PausedBy.WINDOW, PausedBy.DEADLINE):
        wait_s = _wait_s(usage, next_us)
        what = "window closes" if by is PausedBy.WINDOW else "deadline passes"
        return (
            f"the next answer takes up to {wait_s:,.1f} s, and the run's {what} before: nothing is submitted"
        )
    whose, hint = _BUDGET_TEXTS[by]
    if usage.shared and by is PausedBy.BUDGET:
        whose = "the calibration's"
    budget = usage.budgets[HoldReason(by)]
    used = (
        f"{number_text(budget.spent_us / 1e6)} s of {whose} budget of {number_text(budget.limit_us / 1e6)} s"
    )
    expected_us = budget.ratio * budget.in_flight_us
    flight = (
        f", {number_text(expected_us / 1e6)} s of it expected for problems in flight" if expected_us else ""
    )
    next_s = number_text(budget.ratio * next_us / 1e6)
    return f"the next problem takes {next_s} s of QPU time, and {used} are spent{flight}: {hint}"


_BUDGET_TEXTS = {
    PausedBy.BUDGET: ("the run's", "raise it with `annealq runs resume RUN --budget SECONDS`"),
    PausedBy.DAY: (
        "today's",
        "the run resumes tomorrow (UTC), or with a higher ANNEALQ_WORKER_DAY_BUDGET_S and `annealq runs "
        "resume`",
    ),
    PausedBy.MONTH: (
        "this month's",
        "the run resumes on the first of the next month (UTC), or with a higher "
        "ANNEALQ_WORKER_MONTH_BUDGET_S and `annealq runs resume`",
    ),
}


def _in_flight(session: Session, solver: str, some: Sequence[int], qpu: str) -> tuple[int, int, int, int]:
    """Return the number of problems in flight on ``qpu`` of ``solver`` and their estimates.

    Then follow the estimates of all problems in flight on ``solver``, and of those of ``some`` runs.
    """
    rows = session.execute(_by_run()).all()
    runs = select(Run.id).where(Run.id.in_({row.run for row in rows}), Run.solver == solver)
    mine = set(session.execute(runs).scalars())
    on_solver = [row for row in rows if row.run in mine]
    here = [row for row in on_solver if row.qpu == qpu]
    return (
        sum(row.problems for row in here),
        int(sum(row.us for row in here)),
        int(sum(row.us for row in on_solver)),
        int(sum(row.us for row in on_solver if row.run in some)),
    )


@cache
def _by_run() -> Select[Any]:
    # A subquery for each problem in flight, of which there are few: PostgreSQL would join all batches.
    run_of = select(Batch.run_id).where(Batch.id == Problem.batch_id).scalar_subquery().label("run")
    figures = (func.count().label("problems"), func.coalesce(func.sum(Problem.estimated_us), 0).label("us"))
    query = select(run_of, Problem.qpu, *figures)
    return query.where(Problem.state.in_(IN_FLIGHT)).group_by("run", Problem.qpu)


def _window_s(hours: RunHours, now: datetime) -> float | None:
    if not hours.is_open(now):
        return 0.0
    closes = hours.closes(now)
    return None if closes is None else (closes - now).total_seconds()


def _answer_s(session: Session, solver: str, qpu: str, hours: RunHours, now: datetime) -> float:
    """Return the longest duration of recent answers of the QPU; 0 if it does not matter or is unknown.

    Problems that were in flight during a pause and collected much later are too old to count.
    """
    if hours.windows is None and hours.deadline_at is None:
        return 0.0
    query = (
        select(Problem.sending_at, Problem.answered_at)
        .join(Batch, Batch.id == Problem.batch_id)
        .join(Run, Run.id == Batch.run_id)
        .where(Run.solver == solver, Problem.qpu == qpu)
        .where(Problem.sending_at >= now - _LATELY, Problem.answered_at.is_not(None))
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


def within_budget(sums: Sequence[int], budget: Budget | None) -> int:
    """Count the problems that ``budget`` allows; ``sums`` add up their estimates."""
    return len(sums) if budget is None else sum(map(budget.suffices, sums))


def with_caution(sums: Sequence[int], budget: Budget | None) -> int:
    """Count the problems that ``budget`` allows if charges are twice as high as expected, but one at least.

    One problem may exceed a budget, if nothing else is in flight; ``sums`` add up the estimates.
    """
    if budget is None:
        return len(sums)
    allowed = sum(budget.suffices(total, _CAUTION) for total in sums)
    return max(allowed, int(not budget.in_flight_us))
