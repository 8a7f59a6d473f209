"""Owners of keys: shown with their limits and webhook, and changed. Their keys stay as they are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from producer.api.keys import keys, limits, listing
from producer.api.keys.keys import KeyLimits, Scope
from producer.api.keys.limits import LimitsLeft
from producer.api.keys.listing import KeySummary
from schema.database import Database, record_action
from schema.errors import ParameterError
from schema.tables.api import Owner

_LIMITS = ("requests_per_minute", "images_per_day", "qpu_us_per_day")


@dataclass(frozen=True)
class OwnerSummary:
    """An owner with its permissions, limits and webhook, what is left of its limits, and its keys."""

    name: str
    scope: Scope
    all_runs: bool
    sees: tuple[str, ...]  # names of other owners whose runs it sees
    limits: KeyLimits
    left: LimitsLeft
    webhook_url: str | None
    webhook_events: tuple[str, ...] | None  # None: all but progress
    keys: tuple[KeySummary, ...]  # newest first


def find(session: Session, name: str, now: datetime) -> OwnerSummary:
    """Return the owner ``name`` in ``session`` as it is ``now``; raise NotFound."""
    row = session.get_one(Owner, keys.find_owner(session, name))
    caller = keys.caller_of(row, None)
    names = session.execute(select(Owner.name).where(Owner.id.in_(caller.sees)).order_by(Owner.name))
    return OwnerSummary(
        name=name,
        scope=caller.scope,
        all_runs=row.all_runs,
        sees=tuple(names.scalars()),
        limits=caller.limits,
        left=limits.left(session, caller, now),
        webhook_url=row.webhook_url,
        webhook_events=caller.webhook_events,
        keys=tuple(key for key in listing.summaries(session, now) if key.name == name),
    )


def change(database: Database, name: str, changes: Mapping[str, Any]) -> None:
    """Change the owner ``name`` in ``database``; either all of ``changes`` are made or none.

    Args:
        changes: any of scope, all_runs, sees (names of owners), requests_per_minute, images_per_day,
            qpu_us_per_day, webhook_url and webhook_events; None removes a limit or the webhook. An owner
            that loses scope admin sees all runs only if ``changes`` say so.

    Raises:
        NotFound: there is no such owner, or none whose runs it is to see.
        ParameterError: a limit is out of range, or it sees all runs and those of named owners.
    """
    values = dict(changes)
    with database.transaction() as session:
        owner, now = keys.find_owner(session, name), database.now(session)
        row = session.get_one(Owner, owner)
        scope = Scope(values.get("scope", row.scope))
        all_runs = values.get("all_runs", row.all_runs and row.scope != Scope.ADMIN) or scope is Scope.ADMIN
        sees = row.sees
        if "sees" in values:
            sees = [keys.find_owner(session, other) for other in dict.fromkeys(values["sees"])] or None
        if all_runs and sees:
            if values.get("sees"):
                raise ParameterError(
                    f"{name!r} sees the runs of all owners: omit the names of some", field="sees"
                )
            sees = None
        KeyLimits(**{limit: values.get(limit, getattr(row, limit)) for limit in _LIMITS})  # checks them
        values |= {"scope": scope.value, "all_runs": all_runs, "sees": sees}
        session.execute(update(Owner).where(Owner.id == owner).values(**values))
        why = f"changed {', '.join(sorted(changes))}"
        record_action(session, "owners", owner, "changed", now=now, why=why)
