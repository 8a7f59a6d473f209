"""Limits of an owner: requests per minute, images and QPU time per day (UTC)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import case, func, select, update
from sqlalchemy.orm import Session

from producer.api.keys.keys import Caller
from producer.api.keys.rates import RequestRate
from schema.database import Database
from schema.errors import RequestRefused
from schema.parameters import Solver
from schema.quantities import count_text
from schema.states import FINISHED_RUNS
from schema.tables import Batch, Calibration, CalibrationPlan, Problem, Run
from schema.tables.api import Owner, RunSubmission
from schema.tables.costs import cost_us

_REMOTE = [solver.value for solver in Solver if solver.is_remote]


@dataclass(frozen=True)
class LimitsLeft:
    """What is left of the limits of an owner: of this minute, and of this day (UTC); None: unlimited."""

    requests: int | None
    images: int | None
    qpu_s: float | None
    minute_ends_at: datetime
    day_ends_at: datetime


def count_request(session: Session, owner: int, limit: int, now: datetime) -> RequestRate:
    """Count a request of ``owner`` in ``session`` at ``now``; return what is left of ``limit``, maybe -1."""
    left = limit - requests_in_minute(session, owner, now)
    return RequestRate(limit, max(left, -1), 60 - now.second)


def refuse_more(caller: Caller, rate: RequestRate) -> None:
    """Raise RequestRefused (429) if the ``rate`` of ``caller`` is above its limit."""
    if rate.left < 0:
        raise RequestRefused(
            f"key {caller.name!r} may send {rate.limit:,} requests per minute",
            429,
            "wait until the next minute; follow a run by its /events, which counts as one request",
            retry_after_s=rate.resets_s,
        )


def left(session: Session, caller: Caller, now: datetime) -> LimitsLeft:
    """Return what is left of the limits of ``caller`` in ``session`` at ``now``."""
    minute, limits = now.replace(second=0, microsecond=0), caller.limits
    requests, images, qpu_us = limits.requests_per_minute, limits.images_per_day, limits.qpu_us_per_day
    if caller.owner_id is not None:
        row = session.get_one(Owner, caller.owner_id)
        if requests is not None and row.minute == minute:
            requests = max(requests - row.requests, 0)
        if images is not None and row.day == day_of(now):
            images = max(images - row.images, 0)
    if qpu_us is not None:
        qpu_us = int(max(qpu_us - _claimed_us(session, caller, 0, now), 0))
    ends = minute + timedelta(minutes=1), day_of(now) + timedelta(days=1)
    return LimitsLeft(requests, images, None if qpu_us is None else qpu_us / 1e6, *ends)


def refuse_above(database: Database, caller: Caller, key: str | None, images: int = 1) -> None:
    """Raise RequestRefused (429) if ``caller`` may not send ``images`` more today: before they are decoded.

    A request with an idempotency ``key`` may be a repetition, which costs nothing.
    """
    limit = caller.limits.images_per_day
    if key is not None or limit is None:
        return
    with database.reading() as session:
        now = database.now(session)
        remaining = left(session, caller, now).images
        if remaining is not None and images > remaining:
            raise _too_many(caller, limit, limit - remaining, images, now)


def count_run(
    session: Session, caller: Caller, run: int, images: int, solver: Solver, *, now: datetime
) -> None:
    """Count the new ``run`` of ``caller`` and its ``images``, in the ``session`` that inserts it ``now``.

    If ``solver`` is remote, the key has a limit of QPU time and the run has no budget, its budget becomes the
    rest of the limit.

    Raises:
        RequestRefused: 429, the images or the QPU time of the key for this day do not suffice.
    """
    if caller.owner_id is None:
        return
    limit = caller.limits.images_per_day
    used = images_on_day(session, caller.owner_id, images, now)
    if limit is not None and used > limit:
        raise _too_many(caller, limit, used - images, images, now)
    if solver.is_remote and caller.limits.qpu_us_per_day is not None:
        _reserve_time(session, caller, run, caller.limits.qpu_us_per_day, now)


def count_calibration(
    session: Session, caller: Caller, images: int, budget_us: int | None, *, now: datetime
) -> None:
    """Count the ``images`` of all runs of a new calibration, in the ``session`` that inserts it ``now``.

    Args:
        budget_us: QPU time that it may be charged; None: none is charged.

    Raises:
        RequestRefused: 429, the images or the QPU time of the key of ``caller`` for this day do not suffice.
    """
    if caller.owner_id is None:
        return
    limit, limit_us = caller.limits.images_per_day, caller.limits.qpu_us_per_day
    used = images_on_day(session, caller.owner_id, images, now)
    if limit is not None and used > limit:
        raise _too_many(caller, limit, used - images, images, now, what="this calibration, in all settings,")
    if budget_us is not None and limit_us is not None:
        left_us = int(limit_us - _claimed_us(session, caller, 0, now))
        if budget_us > left_us:
            raise _too_long(caller, limit_us, left_us, now)


def requests_in_minute(session: Session, owner: int, now: datetime) -> int:
    """Count a request of ``owner`` in ``session``, and return its requests in the minute of ``now``."""
    minute = now.replace(second=0, microsecond=0)
    requests = case((Owner.minute == minute, Owner.requests + 1), else_=1)
    counted = update(Owner).where(Owner.id == owner).values(requests=requests, minute=minute)
    return session.execute(counted.returning(Owner.requests)).scalar_one()


def images_on_day(session: Session, owner: int, images: int, now: datetime) -> int:
    """Count ``images`` of ``owner`` in ``session``, and return its images on the day of ``now``.

    The owner's row is locked until the commit.
    """
    day = day_of(now)
    total = case((Owner.day == day, Owner.images + images), else_=images)
    counted = update(Owner).where(Owner.id == owner).values(images=total, day=day)
    return session.execute(counted.returning(Owner.images)).scalar_one()


def day_of(now: datetime) -> datetime:
    """Return the first instant of the UTC day of ``now``."""
    return now.replace(hour=0, minute=0, second=0, microsecond=0)


def _too_many(
    caller: Caller, limit: int, used: int, images: int, now: datetime, what: str = "this run"
) -> RequestRefused:
    hint = "send fewer images" if used < limit else "wait until the next day (UTC)"
    return RequestRefused(
        f"key {caller.name!r} may send {count_text(limit, 'image')} per day, has sent {used:,}; "
        f"{what} has {images:,}",
        429,
        f"{hint}, or ask for a higher limit",
        retry_after_s=_until_tomorrow_s(now),
    )


def _reserve_time(session: Session, caller: Caller, run: int, limit_us: int, now: datetime) -> None:
    left_us = int(limit_us - _claimed_us(session, caller, run, now))
    budget = session.execute(select(Run.budget_us).where(Run.id == run)).scalar_one()
    if left_us <= 0 or (budget is not None and budget > left_us):
        raise _too_long(caller, limit_us, left_us, now)
    if budget is None:
        session.execute(update(Run).where(Run.id == run).values(budget_us=left_us))


def _too_long(caller: Caller, limit_us: int, left_us: int, now: datetime) -> RequestRefused:
    return RequestRefused(
        f"key {caller.name!r} may use {limit_us / 1e6:g} s of QPU time per day; today's runs used or "
        f"reserved all but {max(left_us, 0) / 1e6:g} s",
        429,
        "give each run a smaller budget_s (a run without one reserves the rest), or wait until "
        "the next day (UTC)",
        retry_after_s=_until_tomorrow_s(now),
    )


def _claimed_us(session: Session, caller: Caller, run: int, now: datetime) -> float:
    """Return the QPU time that today's other runs of ``caller`` were charged, or may still be charged.

    The runs of a calibration share its budget, which counts from the request on.
    """
    rows = session.execute(
        select(Run.id, Run.calibrates, Run.state, Run.budget_us, func.coalesce(func.sum(cost_us()), 0))
        .join(RunSubmission, RunSubmission.run_id == Run.id)
        .outerjoin(Batch, Batch.run_id == Run.id)
        .outerjoin(Problem, Problem.batch_id == Batch.id)
        .where(
            RunSubmission.owner_id == caller.owner_id,
            RunSubmission.created_at >= day_of(now),
            Run.id != run,
            Run.solver.in_(_REMOTE),
        )
        .group_by(Run.id, Run.calibrates, Run.state, Run.budget_us)
    )
    spent: dict[tuple[int | None, int | None], float] = {}
    reserved: dict[tuple[int | None, int | None], float] = {}
    for row, calibration, state, budget, us in rows:
        sharing = (calibration, row if calibration is None else None)
        spent[sharing] = spent.get(sharing, 0.0) + us
        if state not in FINISHED_RUNS:
            reserved[sharing] = budget or 0
    planned = (
        select(func.coalesce(func.sum(Calibration.budget_us), 0))
        .join(CalibrationPlan, CalibrationPlan.id == Calibration.id)
        .where(
            CalibrationPlan.owner_id == caller.owner_id,
            CalibrationPlan.finished_at.is_(None),
            CalibrationPlan.created_at >= day_of(now),
        )
    )
    claimed = sum(max(us, reserved.get(sharing, 0.0)) for sharing, us in spent.items())
    return claimed + (session.execute(planned).scalar_one() or 0)


def _until_tomorrow_s(now: datetime) -> int:
    return int((day_of(now) + timedelta(days=1) - now).total_seconds()) + 1
