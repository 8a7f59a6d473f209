"""Forecasts how much pending work fits into the next windows. Pure functions, no I/O.

Each solver works on the open runs of highest priority, and alternates between runs of the same priority. A
solver with qubits is assumed to need a run's QPU time and no more: waiting times in its queue and on the
network are unknown. So the forecast is an upper bound.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from producer.forecasts.workload import WaitingRun
from schema.states import PausedBy

DAY = timedelta(days=1)
_NOT_AUTOMATIC = (PausedBy.HAND, PausedBy.BUDGET, PausedBy.DEADLINE)
_LEAST_S = 1e-6


@dataclass(frozen=True)
class Forecast:
    """The work on a run until the next windows close.

    Attributes:
        seconds: time that it occupies the solver.
        left_images: images that remain.
        left: reason why images remain; None: none do.
        begins_at: when work on the run starts; None: it does not.
    """

    run: WaitingRun
    images: int
    problems: int
    qpu_us: int
    seconds: float
    left_images: int
    left: str | None
    begins_at: datetime | None


@dataclass(frozen=True)
class WindowPlan:
    """The forecast from ``now`` until the next windows close."""

    now: datetime
    until: datetime
    runs: tuple[Forecast, ...]

    @property
    def qpu_us(self) -> int:
        return sum(run.qpu_us for run in self.runs)


@dataclass
class _Work:
    """A run in the simulation: seconds that it may work at most (``most_s``), and has worked (``done_s``)."""

    run: WaitingRun
    most_s: float
    not_before: datetime
    done_s: float = 0.0
    begins_at: datetime | None = None

    def works(self, now: datetime) -> bool:
        hours = self.run.hours
        unfinished = self.most_s - self.done_s > _LEAST_S
        return unfinished and now >= self.not_before and hours.is_open(now) and not hours.has_expired(now)

    def changes(self, now: datetime) -> datetime | None:
        """Return when, after ``now``, the run may start or must stop."""
        hours = self.run.hours
        turn = hours.closes(now) if hours.is_open(now) else hours.next_open(now)
        times = (turn, hours.deadline_at, self.not_before)
        return min((time for time in times if time is not None and time > now), default=None)


def forecast(waiting: Sequence[WaitingRun], now: datetime) -> WindowPlan:
    """Return how much of ``waiting`` fits into the windows after ``now``; without any, into 24 hours."""
    until = _until(waiting, now)
    works = [_Work(run, _most_s(run), _not_before(run, now)) for run in waiting]
    for solver in {run.solver for run in waiting}:
        _simulate([work for work in works if work.run.solver == solver], now, until)
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
    """Return the seconds that a run may work until it is finished or its budget is spent."""
    if run.seconds is None or run.paused_by in _NOT_AUTOMATIC:
        return 0.0
    if run.budget_us is None or not run.qpu_us or run.budget_us >= run.qpu_us:
        return run.seconds
    return run.seconds * max(run.budget_us, 0) / run.qpu_us


def _not_before(run: WaitingRun, now: datetime) -> datetime:
    """Return when a run may start: in the next day or month (UTC) if that budget of its solver is spent."""
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    if run.paused_by is PausedBy.DAY:
        return midnight + DAY
    if run.paused_by is PausedBy.MONTH:
        return (midnight.replace(day=1) + 32 * DAY).replace(day=1)
    return now


def _simulate(works: Sequence[_Work], now: datetime, until: datetime) -> None:
    """Simulate the work of one solver on its runs, from one event to the next."""
    while now < until:
        open_works = [work for work in works if work.works(now)]
        highest = max((work.run.priority for work in open_works), default=0)
        urgent = [work for work in open_works if work.run.priority == highest]
        changes = [change for work in works if (change := work.changes(now)) is not None]
        end = min([until, *changes])
        if urgent:
            shortest_s = min(work.most_s - work.done_s for work in urgent) * len(urgent)
            end = min(end, now + timedelta(seconds=max(shortest_s, _LEAST_S)))
        for work in urgent:
            work.begins_at = work.begins_at or now
            work.done_s += (end - now).total_seconds() / len(urgent)
        now = end


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
        seconds=(run.seconds or 0.0) * share,
        left_images=run.images - images,
        left=_why(work) if images < run.images else None,
        begins_at=work.begins_at,
    )


def _why(work: _Work) -> str:
    run = work.run
    if run.paused_by in _NOT_AUTOMATIC:
        return f"paused by {run.paused_by}"
    if run.seconds is None:
        return "its duration is unknown"
    if work.most_s < run.seconds and work.most_s - work.done_s <= 2 * _LEAST_S:
        return "its budget is spent"
    if run.hours.deadline_at is not None:
        return "its window or its deadline ends"
    return "its window ends" if run.hours.windows is not None else "the 24 hours end"
