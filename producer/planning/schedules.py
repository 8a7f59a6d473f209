"""Stores schedules: requests that become a run whenever they are due, and their firings.

The reconciler creates a firing for each due time.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Row, Select, delete, insert, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from producer.images.imageset import ImageSet
from producer.images.pieces.allowance import Allowance
from producer.intake.find import read_or_open
from producer.networks import choose
from producer.runs.enqueue import check_run
from producer.runs.request import ClassificationRequest
from schema.calendar.cron import Cron
from schema.calendar.windows import is_daily
from schema.database import Database, record_action, record_event, transition
from schema.database.rows import copy_row
from schema.errors import NotFound, ParameterError
from schema.parameters import Parameters
from schema.states import FiringState, ScheduleState
from schema.tables import Firing, Schedule

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True)
class FiringSummary:
    """A due time of a schedule, and its result.

    Attributes:
        missed: number of earlier due times, missed in a downtime, that it replaces.
        changed: whether its data differ from those when the schedule was added, or the files of a large
            source; None: not known.
    """

    firing_id: int
    due_at: datetime
    by_hand: bool
    missed: int
    state: FiringState
    run_id: int | None
    changed: bool | None
    error: str | None
    ended_at: datetime | None


@dataclass(frozen=True)
class ScheduleSummary:
    """A schedule as `schedules list` and `schedules show` print it; ``last`` is its latest firing."""

    name: str
    state: ScheduleState
    cron: str
    zone: str
    request: dict[str, Any]
    next_at: datetime | None
    created_at: datetime
    last: FiringSummary | None


def add(
    database: Database,
    name: str,
    cron: Cron,
    request: ClassificationRequest,
    allowance: Allowance | None = None,
) -> ImageSet:
    """Store ``request`` in ``database`` as schedule ``name``; it becomes a run whenever ``cron`` is due.

    Its images are read now, within ``allowance``, and returned, so that a request that cannot be classified
    is refused immediately; of a large source, the first ones are.

    Raises:
        InputError: the name is taken or not valid, the request cannot be classified, or its deadline is a
            date.
    """
    if _NAME.fullmatch(name) is None:
        raise ParameterError(
            f"{name[:64]!r} is not a valid name: use up to 64 letters, digits, dots, dashes or underscores"
        )
    if request.deadline is not None and not is_daily(request.deadline):
        raise ParameterError(
            f"deadline {request.deadline} is a single date, but a schedule repeats: give a time, as in 06:00"
        )
    images, source = read_or_open(request, choose.inputs(database, request.network), allowance)
    network = choose.get_or_install_network(database, images, request.network)
    with database.reading() as session:
        options = request.options(database.now(session))
    check_run(database, images, network, request.solver, Parameters.from_dict(request.given), options)
    request = replace(request, network=network.pinned)  # a default that changes later changes no schedule
    with database.transaction() as session:
        now = database.now(session)
        values = {
            "name": name,
            "state": ScheduleState.ACTIVE,
            "cron": cron.text,
            "zone": cron.zone_name,
            "request": request.to_dict(),
            "data_sha256": images.digest() if source is None else source.digest(),
            "next_at": cron.after(now),
            "planned_at": now,
            "created_at": now,
        }
        try:
            with session.begin_nested():
                row = session.execute(insert(Schedule).values(values).returning(Schedule.id)).scalar_one()
        except IntegrityError:
            raise ParameterError(
                f"there is a schedule {name!r}: choose another name, or `annealq schedules remove {name}`"
            ) from None
        record_event(session, "schedules", row, None, ScheduleState.ACTIVE, now=now)
    return images


def pause(database: Database, name: str, *, again: bool = False) -> None:
    """Pause schedule ``name`` in ``database``; firings that fall due meanwhile are skipped.

    With ``again`` it may be paused already. Raises as `_move` does.
    """
    _move(database, name, ScheduleState.ACTIVE, ScheduleState.PAUSED, again=again)


def resume(database: Database, name: str, *, again: bool = False) -> datetime:
    """Resume schedule ``name`` in ``database``; return when it is due next.

    With ``again`` it may be active already. Raises as `_move` does.
    """
    return _move(database, name, ScheduleState.PAUSED, ScheduleState.ACTIVE, again=again)


def remove(database: Database, name: str) -> None:
    """Remove schedule ``name`` from ``database`` with its firings; its runs stay. Raises NotFound."""
    with database.transaction() as session:
        row = get_row(session, name)
        record_action(session, "schedules", row.id, "removed", now=database.now(session), why=name)
        session.execute(delete(Schedule).where(Schedule.id == row.id))


def fire_now(database: Database, name: str) -> int:
    """Insert into ``database`` an additional firing of schedule ``name``, due now; return its id."""
    with database.transaction() as session:
        now = database.now(session)
        values = {"schedule_id": get_row(session, name).id, "due_at": now, "by_hand": True, "missed": 0}
        values |= {"state": FiringState.DUE, "attempts": 0, "created_at": now}
        firing = session.execute(insert(Firing).values(values).returning(Firing.id)).scalar_one()
        record_event(session, "firings", firing, None, FiringState.DUE, now=now, why="by hand")
        return firing


def list_all(session: Session) -> list[ScheduleSummary]:
    """Return all schedules, read by ``session``, sorted by name."""
    rows = session.execute(select(Schedule).order_by(Schedule.name)).scalars()
    return [_summary(session, row) for row in rows]


def get(session: Session, name: str) -> ScheduleSummary:
    """Return schedule ``name``, read by ``session``; raise NotFound."""
    return _summary(session, get_row(session, name))


def firings(session: Session, name: str, limit: int = 20) -> list[FiringSummary]:
    """Return the ``limit`` latest firings of schedule ``name``, newest first; raise NotFound."""
    query = _firings().where(Firing.schedule_id == get_row(session, name).id)
    return [_fired(row) for row in session.execute(query.limit(limit))]


def firing(session: Session, number: int) -> FiringSummary:
    """Return the firing ``number``, which exists."""
    return _fired(session.execute(_firings().where(Firing.id == number)).one())


def get_row(session: Session, name: str) -> Schedule:
    """Return the row of schedule ``name``, read by ``session``; raise NotFound."""
    row = session.execute(select(Schedule).where(Schedule.name == name)).scalar()
    if row is None:
        raise NotFound(f"no schedule {name[:64]!r}: `annealq schedules list` shows all")
    return row


def _move(
    database: Database, name: str, source: ScheduleState, target: ScheduleState, *, again: bool
) -> datetime:
    """Raise NotFound, or ParameterError if the schedule is not in ``source``, unless it may be ``again``."""
    with database.transaction() as session:
        row, now = get_row(session, name), database.now(session)
        if again and row.state is target:
            return row.next_at
        if row.state is not source:
            raise ParameterError(f"schedule {name!r} is {row.state} already")
        next_at = Cron.parse(row.cron, row.zone).after(now)
        transition(session, row.id, source, target, now=now, why="by hand", next_at=next_at, planned_at=now)
        return next_at


def _firings() -> Select[Firing, str]:
    return (
        select(Firing, Schedule.data_sha256)
        .join(Schedule, Schedule.id == Firing.schedule_id)
        .order_by(Firing.due_at.desc())
    )


def _fired(row: Row[Firing, str]) -> FiringSummary:
    firing, sha256 = row
    changed = None if firing.data_sha256 is None else firing.data_sha256 != sha256
    return copy_row(firing, FiringSummary, firing_id=firing.id, changed=changed)


def _summary(session: Session, schedule: Schedule) -> ScheduleSummary:
    last = session.execute(_firings().where(Firing.schedule_id == schedule.id).limit(1)).first()
    return copy_row(
        schedule,
        ScheduleSummary,
        next_at=schedule.next_at if schedule.state is ScheduleState.ACTIVE else None,
        last=None if last is None else _fired(last),
    )
