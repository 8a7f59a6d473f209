"""Inserts a run with all of its batches."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import insert
from sqlalchemy.orm import Session

from schema.calendar.run_hours import RunHours, format_time
from schema.codecs.batches import BatchRow
from schema.database.transitions import record_event, transition
from schema.errors import ParameterError
from schema.states import BatchState, PausedBy, RunState
from schema.tables import Batch, BatchImages, Run

# Images and rows of batches that are in memory, and sent to the database, at a time.
_INSERTED_BYTES = 4 * 2**20
_INSERTED_ROWS = 1_000


def insert_run(session: Session, run: dict[str, Any], batches: Iterable[BatchRow], *, now: datetime) -> int:
    """Write the row ``run`` and its ``batches`` by ``session``; return its id.

    Outside of its windows the run is paused.

    Raises:
        ParameterError: the deadline of the run has passed at ``now``.
    """
    if run.get("deadline_at") is not None and run["deadline_at"] <= now:
        raise ParameterError(
            f"the deadline {format_time(run['deadline_at'])} has passed: "
            f"the database's clock says {format_time(now)}"
        )
    stamped = {**run, "state": RunState.QUEUED, "created_at": now}
    run_id = session.execute(insert(Run).values(stamped).returning(Run.id)).scalar_one()
    _insert_batches(session, run_id, batches, now=now)
    record_event(session, "runs", run_id, None, RunState.QUEUED, now=now)
    hours = RunHours.of(run.get("window"), None, run.get("deadline_at"))
    if not hours.is_open(now):
        why = hours.explain(now)
        values = {"paused_by": PausedBy.WINDOW, "pause_reason": why, "paused_at": now}
        transition(session, run_id, RunState.QUEUED, RunState.PAUSED, now=now, why=why, **values)
    return run_id


def _insert_batches(session: Session, run: int, batches: Iterable[BatchRow], *, now: datetime) -> None:
    """Insert ``batches`` a few at a time, so that not all of their images are in memory."""
    few: list[BatchRow] = []
    size = 0
    for batch in batches:
        few.append(batch)
        size += len(batch.images["images"])
        if size >= _INSERTED_BYTES or len(few) >= _INSERTED_ROWS:
            _insert_few(session, run, few, now=now)
            few, size = [], 0
    if few:
        _insert_few(session, run, few, now=now)


def _insert_few(session: Session, run: int, batches: Sequence[BatchRow], *, now: datetime) -> None:
    common = {"run_id": run, "state": BatchState.PENDING, "due_at": now, "created_at": now}
    stamped = [{**batch.row, **common} for batch in batches]
    ids = session.execute(insert(Batch).returning(Batch.id, sort_by_parameter_order=True), stamped).scalars()
    images = [{**batch.images, "batch_id": id_} for id_, batch in zip(ids, batches, strict=True)]
    session.execute(insert(BatchImages), images)
