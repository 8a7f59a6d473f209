"""Stores and logs what the service announces about a solver: when it, or a part of it, is withdrawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import date
from typing import TYPE_CHECKING, Any

import structlog
from sqlalchemy import select, update

from schema.parameters import Solver
from schema.tables import Chip

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from worker.context import Context
    from worker.sapi.qpu import SolverConnection

log = structlog.get_logger()


def note_deprecations(context: Context, solver: Solver, qpu: SolverConnection) -> None:
    """Store what the service announced about ``qpu`` of ``solver`` in ``context``; log it once a day."""
    announced = [
        {name: value for name, value in asdict(found).items() if name != "solver"}
        for found in qpu.take_deprecations()
    ]
    if not announced:
        return
    chip = (solver.value, qpu.name, qpu.graph.graph_id)
    with context.database.transaction() as session:
        today = context.database.now(session).date()
        new = _store(session, chip, announced, today=today)
    for entry in new:
        log.warning("solver is deprecated", solver=qpu.name, **entry)


def _store(
    session: Session, chip: tuple[str, str, str], announced: Sequence[dict[str, Any]], *, today: date
) -> list[dict[str, Any]]:
    """Store announcements with a chip, given its solver, name and graph id; return those new today."""
    columns = (Chip.solver, Chip.name, Chip.graph_id)
    where = [column == value for column, value in zip(columns, chip, strict=True)]
    row = session.execute(select(Chip.id, Chip.properties).where(*where).with_for_update()).first()
    if row is None:
        return []
    stored = {_announcement(entry): entry for entry in row.properties.get("deprecations", [])}
    new = [
        entry
        for entry in announced
        if stored.get(_announcement(entry), {}).get("seen_on") != today.isoformat()
    ]
    if new:
        stored |= {_announcement(entry): {**entry, "seen_on": today.isoformat()} for entry in new}
        properties = {**row.properties, "deprecations": list(stored.values())}
        session.execute(update(Chip).where(Chip.id == row.id).values(properties=properties))
    return new


def _announcement(entry: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(entry.get(name) for name in ("context", "message", "sunset"))
