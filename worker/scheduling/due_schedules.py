"""Creates firings of schedules that are due: one for each due time, however many reconcilers run.

After a downtime, missed due times are combined into one firing for the latest, which counts the others.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import insert, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from schema.calendar.cron import Cron
from schema.database import record_event
from schema.states import FiringState, ScheduleState
from schema.tables import Firing, Schedule


def create_due_firings(session: Session, *, now: datetime) -> int:
    """Create a firing in ``session`` for each active schedule that is due at ``now``; return how many."""
    columns = (Schedule.id, Schedule.cron, Schedule.zone, Schedule.next_at)
    # A schedule planned in the future was planned by a wrong clock, so its next time may be wrong, too.
    query = select(*columns).where(
        Schedule.state == ScheduleState.ACTIVE, or_(Schedule.next_at <= now, Schedule.planned_at > now)
    )
    fired = 0
    for row in session.execute(query.order_by(Schedule.id)).all():
        cron = Cron.parse(row.cron, row.zone)
        moved = session.execute(
            update(Schedule)
            .where(
                Schedule.id == row.id, Schedule.next_at == row.next_at, Schedule.state == ScheduleState.ACTIVE
            )
            .values(next_at=cron.after(now), planned_at=now)
            .returning(Schedule.id)
        ).first()
        if moved is not None and row.next_at <= now:
            fired += _fire(session, row.id, cron, row.next_at, now)
    return fired


def _fire(session: Session, schedule: int, cron: Cron, first: datetime, now: datetime) -> bool:
    """Return False if this due time already has a firing, because a clock was set back."""
    due_at = max(cron.latest(now), first)
    missed = cron.count(first, due_at) - 1
    values = {"schedule_id": schedule, "due_at": due_at, "missed": missed, "attempts": 0}
    statement = insert(Firing).values(**values, state=FiringState.DUE, created_at=now, by_hand=False)
    try:
        with session.begin_nested():
            firing = session.execute(statement.returning(Firing.id)).scalar_one()
    except IntegrityError:
        return False
    record_event(session, "firings", firing, None, FiringState.DUE, now=now)
    return True
