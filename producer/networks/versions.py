"""A network's row is made once for each content, as the next version of its name."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, TypeVar

from sqlalchemy import func, insert, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from schema.database import Database, record_event
from schema.tables import Network

_T = TypeVar("_T")

# Every race that is lost was won by a producer that has committed since, so a few rounds are plenty.
_ROUNDS = 50


def insert_version(session: Session, values: dict[str, Any], *, now: datetime, why: str | None = None) -> int:
    """Insert a network as the next version of its name; returns its id.

    Raises:
        IntegrityError: another producer took the version, or committed the same content, first.
    """
    newest = select(func.coalesce(func.max(Network.version), 0)).where(Network.name == values["name"])
    row = {**values, "version": session.execute(newest).scalar_one() + 1, "created_at": now}
    network: int = session.execute(insert(Network).values(row).returning(Network.id)).scalar_one()
    record_event(session, "networks", network, None, row["state"], now=now, why=why)
    return network


def find_or_insert(database: Database, act: Callable[[Session], _T]) -> _T:
    """Run ``act``, which looks for a row and else inserts it, in a transaction; again when a race is lost.

    In the next round it finds what the other producer has committed, or takes the version after it.
    """
    for _ in range(_ROUNDS - 1):
        try:
            with database.transaction() as session:
                return act(session)
        except IntegrityError:
            continue
    with database.transaction() as session:
        return act(session)
