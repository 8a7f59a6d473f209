"""Chooses a setting for a target: the cheapest one that reaches an accuracy within a time and a budget.

Pure functions, no I/O. All settings that calibrations have measured are compared; none is interpolated.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from producer.forecasts.accuracy import confidence_among, least_accuracy
from producer.forecasts.offers import Offer
from schema.calendar.run_hours import RunHours, format_time
from schema.errors import ParameterError
from schema.quantities import count_text, percent

_BUSY = 0.95  # share of the time in which a QPU works on a run: docs/qpu.md
_MINUTE_US = 60_000_000
_MOST_WINDOWS = 10_000  # that a finishing time is looked for in


@dataclass(frozen=True)
class Job:
    """A run that is going to be enqueued.

    Attributes:
        images: number of them.
        now: when it is enqueued.
        hours: when it may work.
        waits_s: seconds that its solver is busy with other runs before.
        budget_us: QPU time that it may be charged, microseconds; None: any.
        prices: of a minute of QPU time by the name of a QPU; empty name: of all others.
    """

    images: int
    now: datetime
    hours: RunHours
    waits_s: float = 0.0
    budget_us: int | None = None
    prices: Mapping[str, float] | None = None


@dataclass(frozen=True)
class Estimate:
    """What a run with the setting of ``offer`` is expected to be.

    Attributes:
        least: accuracy that it reaches with the probability `producer.forecasts.accuracy.CONFIDENCE`, also
            after it was chosen among others because of its estimate.
        qpu_us: QPU time in microseconds.
        most_us: if as many images as may be are read again.
        price: of that; None without prices.
        finishes_at: at the latest; None: its windows never open for long enough.
    """

    offer: Offer
    least: float
    qpu_us: float
    most_us: float
    price: float | None
    finishes_at: datetime | None

    @property
    def cost(self) -> tuple[float, float, float]:
        """Return what makes it dearer than another one: price, QPU time, reads."""
        return (self.price or 0.0, self.qpu_us, self.offer.work)


def estimate(offers: Iterable[Offer], job: Job) -> list[Estimate]:
    """Return the estimate of ``job`` with each of ``offers``, of which one is going to be chosen."""
    listed = list(offers)
    confidence = confidence_among(len(listed))
    return [_estimate(offer, job, confidence) for offer in listed]


def pareto_front(estimates: Iterable[Estimate]) -> list[Estimate]:
    """Return those of ``estimates`` that no other one beats, the cheapest first.

    One beats another if it is at least as accurate, as cheap and as early, and better in one of these.
    """
    front: list[Estimate] = []
    for one in sorted(estimates, key=lambda each: (each.cost, -each.least, _end(each))):
        if not any(best.least >= one.least and _end(best) <= _end(one) for best in front):
            front.append(one)
    return front


def choose(front: Sequence[Estimate], job: Job, target: float) -> Estimate:
    """Return the cheapest of ``front`` that is promised to reach the accuracy ``target`` in time.

    Raises:
        ParameterError: there is none. It names the nearest possible target, and what would be needed for
            this one.
    """
    possible = [one for one in front if _is_in_time(one, job) and _is_affordable(one, job)]
    for one in possible:
        if one.least >= target:
            return one
    raise ParameterError(_nearest(front, possible, job, target))


def finishing_time(hours: RunHours, now: datetime, seconds: float) -> datetime | None:
    """Return when work of ``seconds`` that begins ``now`` is done within ``hours``; None: never."""
    left = timedelta(seconds=seconds)
    for _ in range(_MOST_WINDOWS):
        opens = hours.next_open(now)
        if opens is None:
            return None
        closes = hours.closes(opens)
        if closes is None or opens + left <= closes:
            return opens + left
        left -= closes - opens
        now = closes
    return None


def _estimate(offer: Offer, job: Job, confidence: float) -> Estimate:
    qpu_us, most_us = offer.qpu_us(job.images), offer.most_us(job.images)
    prices, price = job.prices or {}, None
    per_minute = prices.get(offer.qpu or "", prices.get(""))
    if per_minute is not None:
        price = qpu_us / _MINUTE_US * per_minute
    ends = finishing_time(job.hours, job.now, job.waits_s + most_us / 1e6 / _BUSY)
    least = least_accuracy(offer.right, offer.validated, job.images, confidence)
    return Estimate(offer, least, qpu_us, most_us, price, ends)


def _end(one: Estimate) -> float:
    return float("inf") if one.finishes_at is None else one.finishes_at.timestamp()


def _is_in_time(one: Estimate, job: Job) -> bool:
    deadline = job.hours.deadline_at
    return one.finishes_at is not None and (deadline is None or one.finishes_at <= deadline)


def _is_affordable(one: Estimate, job: Job) -> bool:
    return job.budget_us is None or one.most_us <= job.budget_us


def _nearest(front: Sequence[Estimate], possible: Sequence[Estimate], job: Job, target: float) -> str:
    """Return why ``target`` cannot be promised, and what can be."""
    images = count_text(job.images, "image")
    text = f"an accuracy of {percent(target)} cannot be promised for {images}"
    ways = []
    if possible:
        best = max(possible, key=lambda one: (one.least, [-part for part in one.cost]))
        ways.append(f"--target {percent(best.least, down=True)} is possible ({_needs(best, job)})")
    reaching = [one for one in front if one.least >= target]
    if reaching:
        ways.append(f"this target takes {_needs(reaching[0], job)}")
    else:
        offer = max(front, key=lambda one: one.least).offer
        ways.append(
            f"its best setting has {offer.right:,} of {count_text(offer.validated, 'validation image')} "
            "right: calibrate with more images, or train a better network"
        )
    limits = []
    if job.budget_us is not None:
        limits.append(f"a budget of {job.budget_us / 1e6:g} s")
    if job.hours.deadline_at is not None:
        limits.append(f"the deadline {format_time(job.hours.deadline_at)}")
    within = f" within {' and '.join(limits)}" if limits and len(possible) < len(front) else ""
    return f"{text}{within}: {'; '.join(ways)}"


def _needs(one: Estimate, job: Job) -> str:
    """Return in words what a run by ``one`` needs."""
    parts = [] if one.offer.qpu is None else [f"{one.most_us / 1e6:.3g} s of QPU time on {one.offer.qpu}"]
    if job.hours.deadline_at is not None:
        ends = "never" if one.finishes_at is None else f"at {format_time(one.finishes_at)}"
        parts.append(f"finished {ends}")
    return ", ".join(parts) or f"{count_text(one.offer.parameters.reads, 'read')} an image"
