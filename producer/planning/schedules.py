"""Schedules: requests that become a run whenever they are due. The reconciler says when that is."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row, Select, delete, insert, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from producer.images.imageset import ImageSet
from producer.networks import choose
from producer.networks.compatibility import match_images
from producer.runs.request import ClassificationRequest
from schema.calendar.cron import Cron
from schema.calendar.windows import is_daily
from schema.codecs import arrays
from schema.database import Database, record_event, transition
from schema.errors import NotFound, ParameterError
from schema.states import FiringState, ScheduleState
from schema.tables import Firing, Schedule

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True)
class FiringSummary:
    """One time that a schedule was due, and what became of it.

    missed: earlier due times, of a downtime, that it stands for. changed: its data are not what they were
    when the schedule was added; None: not known.
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
    """A schedule as `schedules list` and `schedules show` print it. last: its latest firing."""

    name: str
    state: ScheduleState
    cron: str
    zone: str
    request: dict[str, Any]
    next_at: datetime | None
    created_at: datetime
    last: FiringSummary | None


def add(database: Database, name: str, cron: Cron, request: ClassificationRequest) -> None:
    """Keep a request that is to become a run whenever ``cron`` says.

    Its images are read now, so that what cannot be classified is refused by day.

    Raises:
        InputError: the name is taken or no name; the request cannot be classified; its deadline is a day's.
    """
    if _NAME.fullmatch(name) is None:
        raise ParameterError(f"{name[:64]!r} is no name: up to 64 letters, digits, dots, dashes, underscores")
    if request.deadline is not None and not is_daily(request.deadline):
        raise ParameterError(
            f"deadline {request.deadline} is on one day, and a schedule has many: give a time, as in 06:00"
        )
    images = request.read()
    match_images(images, choose.get_or_install_network(database, images, request.network))
    with database.transaction() as session:
        now = database.now(session)
        values = {
            "name": name,
            "state": ScheduleState.ACTIVE,
            "cron": cron.text,
            "zone": cron.zone_name,
            "request": request.to_dict(),
            "data_sha256": digest(images),
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


def pause(database: Database, name: str) -> None:
    """Let a schedule rest; what falls due meanwhile is not made up for. Raises as `_move` does."""
    _move(database, name, ScheduleState.ACTIVE, ScheduleState.PAUSED)


def resume(database: Database, name: str) -> datetime:
    """Let a schedule go on; returns when it is due next. Raises as `_move` does."""
    return _move(database, name, ScheduleState.PAUSED, ScheduleState.ACTIVE)


def remove(database: Database, name: str) -> None:
    """Forget a schedule and its firings; its runs stay. Raises NotFound."""
    with database.transaction() as session:
        session.execute(delete(Schedule).where(Schedule.id == get_row(session, name).id))


def fire_now(database: Database, name: str) -> int:
    """Make a firing that is due now, besides the others; returns it. Raises NotFound."""
    with database.transaction() as session:
        now = database.now(session)
        values = {"schedule_id": get_row(session, name).id, "due_at": now, "by_hand": True, "missed": 0}
        values |= {"state": FiringState.DUE, "attempts": 0, "created_at": now}
        firing = session.execute(insert(Firing).values(values).returning(Firing.id)).scalar_one()
        record_event(session, "firings", firing, None, FiringState.DUE, now=now, why="by hand")
        return firing


def list_all(session: Session) -> list[ScheduleSummary]:
    """All schedules, by their names."""
    rows = session.execute(select(Schedule).order_by(Schedule.name)).scalars()
    return [_summary(session, row) for row in rows]


def get(session: Session, name: str) -> ScheduleSummary:
    """One schedule; raises NotFound."""
    return _summary(session, get_row(session, name))


def firings(session: Session, name: str, limit: int = 20) -> list[FiringSummary]:
    """The latest firings of a schedule, newest first; raises NotFound."""
    query = _firings().where(Firing.schedule_id == get_row(session, name).id)
    return [_fired(row) for row in session.execute(query.limit(limit))]


def firing(session: Session, number: int) -> FiringSummary:
    """One firing that exists."""
    return _fired(session.execute(_firings().where(Firing.id == number)).one())


def get_row(session: Session, name: str) -> Schedule:
    """A schedule's row; raises NotFound."""
    found = session.execute(select(Schedule).where(Schedule.name == name)).scalar()
    if found is None:
        raise NotFound(f"no schedule {name[:64]!r}: `annealq schedules list` shows what there is")
    return found


def digest(images: ImageSet) -> str:
    """SHA-256 of images and labels."""
    labels = b"" if images.labels is None else arrays.encode_labels(images.labels)
    shape = str(images.images.shape).encode()
    return arrays.digest(shape, arrays.encode_images(images.images), labels)


def _move(database: Database, name: str, source: ScheduleState, target: ScheduleState) -> datetime:
    """Raises NotFound, or ParameterError where the schedule is not in ``source``."""
    with database.transaction() as session:
        held, now = get_row(session, name), database.now(session)
        if held.state is not source:
            raise ParameterError(f"schedule {name!r} is {held.state} already")
        row, next_at = held.id, Cron.parse(held.cron, held.zone).after(now)
        transition(session, row, source, target, now=now, why="by hand", next_at=next_at, planned_at=now)
        return next_at


def _firings() -> Select[Firing, str]:
    return (
        select(Firing, Schedule.data_sha256)
        .join(Schedule, Schedule.id == Firing.schedule_id)
        .order_by(Firing.due_at.desc())
    )


def _fired(row: Row[Firing, str]) -> FiringSummary:
    held, sha256 = row
    return FiringSummary(
        firing_id=held.id,
        due_at=held.due_at,
        by_hand=held.by_hand,
        missed=held.missed,
        state=held.state,
        run_id=held.run_id,
        changed=None if held.data_sha256 is None else held.data_sha256 != sha256,
        error=held.error,
        ended_at=held.ended_at,
    )


def _summary(session: Session, held: Schedule) -> ScheduleSummary:
    last = session.execute(_firings().where(Firing.schedule_id == held.id).limit(1)).first()
    return ScheduleSummary(
        name=held.name,
        state=held.state,
        cron=held.cron,
        zone=held.zone,
        request=held.request,
        next_at=held.next_at if held.state is ScheduleState.ACTIVE else None,
        created_at=held.created_at,
        last=None if last is None else _fired(last),
    )
