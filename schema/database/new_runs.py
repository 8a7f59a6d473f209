"""Inserts a run with its batches, and adds batches to a run whose images are still being read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from itertools import chain
from typing import Any

from sqlalchemy import insert, or_, select, update
from sqlalchemy.orm import Session

from schema.calendar.run_hours import RunHours, format_time
from schema.codecs.batches import BatchRow
from schema.database.feature_requests import FeatureRequest, ask, feature_requests
from schema.database.transitions import record_event, transition
from schema.errors import ParameterError, StaleState
from schema.states import LIVE_RUNS, BatchState, IntakeState, PausedBy, RunState
from schema.tables import Batch, BatchFeatures, BatchImages, Intake, Run

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


def append_batches(
    session: Session,
    run: int,
    batches: Sequence[BatchRow],
    before: int,
    rows: int,
    content_sha256: str,
    *,
    now: datetime,
    leased_until: datetime,
) -> None:
    """Add ``batches`` to ``run``, whose images are being read, by ``session``.

    Args:
        before: the number of images that it has; the first of ``batches`` begins there.
        rows: of the source that are read with ``batches``.
        content_sha256: of the run with ``batches``.
        leased_until: until then no other process reads on.

    Raises:
        StaleState: another process has added batches, or the run or its intake has ended or stopped.
    """
    # The intake's row is locked first, as by whoever ends it.
    reading = update(Intake).where(Intake.id == run, Intake.state == IntakeState.READING)
    is_open = Run.state.in_((*LIVE_RUNS, RunState.PAUSED))
    in_time = or_(Run.paused_by.is_(None), Run.paused_by != PausedBy.DEADLINE)
    values = {
        "images": Run.images + sum(batch.row["count"] for batch in batches),
        "batches": Run.batches + len(batches),
        "content_sha256": content_sha256,
    }
    read = {"read_at": now, "rows": rows, "leased_until": leased_until, "attempts": 0}
    moved = update(Run).where(Run.id == run, Run.images == before, is_open, in_time).values(**values)
    for guarded in (reading.values(**read).returning(Intake.id), moved.returning(Run.id)):
        if session.execute(guarded).first() is None:
            raise StaleState(f"run {run} has no longer {before} images, or is not read any more")
    _insert_batches(session, run, batches, now=now)


def _insert_batches(session: Session, run: int, batches: Iterable[BatchRow], *, now: datetime) -> None:
    """Insert ``batches`` a few at a time, so that not all of their images are in memory.

    If the network of ``run`` has backbones, they wait for the vectors of their images.
    """
    network = session.execute(select(Run.network_id).where(Run.id == run)).scalar_one()
    requests = feature_requests(session, network)
    few: list[BatchRow] = []
    size = 0
    for batch in batches:
        few.append(batch)
        size += len(batch.images["images"])
        if size >= _INSERTED_BYTES or len(few) >= _INSERTED_ROWS:
            _insert_few(session, run, few, requests, now=now)
            few, size = [], 0
    if few:
        _insert_few(session, run, few, requests, now=now)


def _insert_few(
    session: Session,
    run: int,
    batches: Sequence[BatchRow],
    requests: Sequence[FeatureRequest],
    *,
    now: datetime,
) -> None:
    asked = [ask(session, requests, b.images["images_sha256"], b.row["count"], now=now) for b in batches]
    common = {"run_id": run, "state": BatchState.PENDING, "created_at": now}
    stamped = [
        {**batch.row, **common, "due_at": features.due_at(now)}
        for batch, features in zip(batches, asked, strict=True)
    ]
    inserted = session.execute(insert(Batch).returning(Batch.id, sort_by_parameter_order=True), stamped)
    ids = inserted.scalars().all()
    images = [{**batch.images, "batch_id": id_} for id_, batch in zip(ids, batches, strict=True)]
    session.execute(insert(BatchImages), images)
    if requests:
        links = [each.links_to(BatchFeatures, id_) for id_, each in zip(ids, asked, strict=True)]
        session.execute(insert(BatchFeatures), list(chain.from_iterable(links)))
