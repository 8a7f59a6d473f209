"""What a key may still ask for: requests in this minute, images and QPU time on this day (UTC)."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from producer.api.keys import keys
from producer.api.keys.keys import Caller
from schema.errors import RequestRefused
from schema.parameters import Solver
from schema.states import FINISHED_RUNS
from schema.tables import Batch, Problem, Run
from schema.tables.api import RunSubmission
from schema.tables.costs import cost_us

_REMOTE = [solver.value for solver in Solver if solver.is_remote]


def count_request(session: Session, caller: Caller, now: datetime) -> None:
    """Raises RequestRefused (429) when the key has asked for more than it may in this minute."""
    most = caller.limits.requests_per_minute
    if caller.key_id is None or most is None:
        return
    if keys.count_request(session, caller.key_id, now) > most:
        raise RequestRefused(
            f"key {caller.name!r} may send {most:,} requests a minute",
            429,
            "wait until the next minute; follow a run by its /events, which is one request",
            retry_after_s=60 - now.second,
        )


def count_run(
    session: Session, caller: Caller, run: int, images: int, solver: Solver, *, now: datetime
) -> None:
    """Count a new run of so many images, in the transaction that writes it.

    Under a limit of QPU time a run without a budget gets what is left of it.

    Raises:
        RequestRefused: 429, the key's images or QPU time of this day do not suffice.
    """
    if caller.key_id is None:
        return
    most = caller.limits.images_per_day
    used = keys.count_images(session, caller.key_id, images, now)
    if most is not None and used > most:
        raise _too_many(caller, most, used - images, images, now)
    if solver.is_remote and caller.limits.qpu_us_per_day is not None:
        _reserve_time(session, caller, run, caller.limits.qpu_us_per_day, now)


def _too_many(caller: Caller, most: int, used: int, images: int, now: datetime) -> RequestRefused:
    left = f"{used:,} of them are used"
    way_out = "send fewer images" if used < most else "wait until the next day (UTC)"
    return RequestRefused(
        f"key {caller.name!r} may send {most:,} images a day, {left}, and this run has {images:,}",
        429,
        f"{way_out}, or ask for a higher limit",
        retry_after_s=_until_tomorrow_s(now),
    )


def _reserve_time(session: Session, caller: Caller, run: int, most: int, now: datetime) -> None:
    left = most - _claimed_us(session, caller, run, now)
    budget = session.execute(select(Run.budget_us).where(Run.id == run)).scalar_one()
    if left <= 0 or (budget is not None and budget > left):
        raise RequestRefused(
            f"key {caller.name!r} may use {most / 1e6:g} s of QPU time a day; its runs of today have used or "
            f"reserved all but {max(left, 0) / 1e6:g} s",
            429,
            "give each run a smaller budget_s (a run without one reserves all that is left), or wait until "
            "the next day (UTC)",
            retry_after_s=_until_tomorrow_s(now),
        )
    if budget is None:
        session.execute(update(Run).where(Run.id == run).values(budget_us=left))


def _claimed_us(session: Session, caller: Caller, run: int, now: datetime) -> int:
    """QPU time that the key's other runs of today were charged, or may still be."""
    rows = session.execute(
        select(Run.state, func.coalesce(Run.budget_us, 0), func.coalesce(func.sum(cost_us()), 0))
        .join(RunSubmission, RunSubmission.run_id == Run.id)
        .outerjoin(Batch, Batch.run_id == Run.id)
        .outerjoin(Problem, Problem.batch_id == Batch.id)
        .where(
            RunSubmission.key_id == caller.key_id,
            RunSubmission.created_at >= keys.day_of(now),
            Run.id != run,
            Run.solver.in_(_REMOTE),
        )
        .group_by(Run.id, Run.state, Run.budget_us)
    )
    ended = FINISHED_RUNS
    return sum(int(spent if state in ended else max(budget, spent)) for state, budget, spent in rows)


def _until_tomorrow_s(now: datetime) -> int:
    return int((keys.day_of(now) + timedelta(days=1) - now).total_seconds()) + 1
