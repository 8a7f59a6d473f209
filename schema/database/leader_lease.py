"""Which of several processes of a kind works: the holder of a lease in SQL; the others wait."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from schema.tables import Leader

RECONCILER = "reconciler"  # the role of the process that health checks ask for


def lead(session: Session, role: str, holder: str, *, now: datetime, lease_s: float) -> bool:
    """Take or prolong the leader's lease; False while another holder's is valid."""
    until = now + timedelta(seconds=lease_s)
    mine = or_(Leader.holder == holder, Leader.until < now)
    taken = session.execute(
        update(Leader)
        .where(Leader.role == role, mine)
        .values(holder=holder, until=until)
        .returning(Leader.role)
    ).first()
    if taken is not None:
        return True
    if session.execute(select(Leader.role).where(Leader.role == role)).first() is not None:
        return False
    try:
        with session.begin_nested():
            session.add(Leader(role=role, holder=holder, until=until))
            session.flush()
    except IntegrityError:
        return False
    return True
