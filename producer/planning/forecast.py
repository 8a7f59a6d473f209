"""What is left to do, and how much of it the coming night holds. Pure: rows in, a forecast out.

Each solver works on one run after another: the most urgent open one, runs of the same priority in turns. One
with qubits is taken to need a run's QPU time and no more: other users' queue and the way there are not known.
So what does not fit will not be done, and what just fits may not be.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from schema.calendar.run_hours import Hours
from schema.states import PausedBy

DAY = timedelta(days=1)
_NEVER_BY_ITSELF = (PausedBy.HAND, PausedBy.BUDGET, PausedBy.DEADLINE)
_LEAST_S = 1e-6


@dataclass(frozen=True)
class WaitingRun:
    """A run that is not done, and what is left of it. None: not known.

    images: not sent yet. problems, qpu_us: what they take of a solver with qubits; 0 on others. seconds: how
    long they keep the solver busy. budget_us: QPU time that the run may still be charged; None: no limit.
    basis: what all this is known from, for people.
    """

    run_id: int
    name: str
    solver: str
    priority: int
    paused_by: PausedBy | None
    hours: Hours
    images: int
    problems: int | None
    qpu_us: int | None
    seconds: float | None
    budget_us: int | None
    basis: str


@dataclass(frozen=True)
class Forecast:
    """What of a run will be done, and what is left over then.

    left: why something is left; None: nothing is. begins_at: when it is worked on first; None: not at all.
    """

    run: WaitingRun
    images: int
    problems: int
    qpu_us: int
    left_images: int
    left: str | None
    begins_at: datetime | None


@dataclass(frozen=True)
class WindowPlan:
    """The forecast from now until the next windows are closed."""

    now: datetime
    until: datetime
    runs: tuple[Forecast, ...]

    @property
    def qpu_us(self) -> int:
        return sum(one.qpu_us for one in self.runs)


@dataclass
class _Work:
    """A run in the simulation: seconds that it may work at most, and has worked."""

    run: WaitingRun
    most_s: float
    not_before: datetime
    done_s: float = 0.0
    begins_at: datetime | None = None

    def works(self, at: datetime) -> bool:
        hours = self.run.hours
        unfinished = self.most_s - self.done_s > _LEAST_S
        return unfinished and at >= self.not_before and hours.is_open(at) and not hours.is_over(at)

    def turns(self, at: datetime) -> datetime | None:
        """When, after ``at``, it may begin or must stop."""
        hours = self.run.hours
        turn = hours.closes(at) if hours.is_open(at) else hours.next_open(at)
        later = [one for one in (turn, hours.deadline_at, self.not_before) if one is not None and one > at]
        return min(later, default=None)


def forecast(waiting: Sequence[WaitingRun], now: datetime) -> WindowPlan:
    """What fits into the next windows; without any, into 24 hours."""
    until = _until(waiting, now)
    works = [_Work(run, _most_s(run), _not_before(run, now)) for run in waiting]
    for solver in {run.solver for run in waiting}:
        _work_off([work for work in works if work.run.solver == solver], now, until)
    return WindowPlan(now, until, tuple(_forecast(work) for work in works))


def _until(waiting: Sequence[WaitingRun], now: datetime) -> datetime:
    ends = []
    for run in waiting:
        opens = run.hours.next_open(now)
        closes = None if opens is None else run.hours.closes(opens)
        if closes is not None:
            ends.append(closes)
    return max(ends, default=now + DAY)


def _most_s(run: WaitingRun) -> float:
    """Seconds that a run may work before it is done, or its budget spent."""
    if run.seconds is None or run.paused_by in _NEVER_BY_ITSELF:
        return 0.0
    if run.budget_us is None or not run.qpu_us or run.budget_us >= run.qpu_us:
        return run.seconds
    return run.seconds * max(run.budget_us, 0) / run.qpu_us


def _not_before(run: WaitingRun, now: datetime) -> datetime:
    """A run whose solver's budget of the day is spent goes on at midnight (UTC)."""
    if run.paused_by is not PausedBy.DAY:
        return now
    return now.replace(hour=0, minute=0, second=0, microsecond=0) + DAY


def _work_off(works: Sequence[_Work], now: datetime, until: datetime) -> None:
    """Let the runs of one solver work, from one event to the next."""
    at = now
    while at < until:
        open_ones = [work for work in works if work.works(at)]
        most = max((work.run.priority for work in open_ones), default=0)
        urgent = [work for work in open_ones if work.run.priority == most]
        turns = [turn for work in works if (turn := work.turns(at)) is not None]
        end = min([until, *turns])
        if urgent:
            shortest_s = min(work.most_s - work.done_s for work in urgent) * len(urgent)
            end = min(end, at + timedelta(seconds=max(shortest_s, _LEAST_S)))
        for work in urgent:
            work.begins_at = work.begins_at or at
            work.done_s += (end - at).total_seconds() / len(urgent)
        at = end


def _forecast(work: _Work) -> Forecast:
    run = work.run
    share = 0.0 if not run.seconds else min(work.done_s / run.seconds, 1.0)
    if run.seconds and run.seconds - work.done_s <= 2 * _LEAST_S:
        share = 1.0
    images = int(run.images * share)
    return Forecast(
        run=run,
        images=images,
        problems=int((run.problems or 0) * share),
        qpu_us=round((run.qpu_us or 0) * share),
        left_images=run.images - images,
        left=_why(work) if images < run.images else None,
        begins_at=work.begins_at,
    )


def _why(work: _Work) -> str:
    run = work.run
    if run.paused_by in _NEVER_BY_ITSELF:
        return f"paused by {run.paused_by}"
    if run.seconds is None:
        return "not known how long it takes"
    if work.most_s < run.seconds and work.most_s - work.done_s <= 2 * _LEAST_S:
        return "its budget is spent"
    if run.hours.deadline_at is not None:
        return "its window or its deadline is over"
    return "its window is over" if run.hours.windows is not None else "the time is over"
