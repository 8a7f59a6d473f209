"""Finds what is to be told about runs, and enqueues a delivery for each of it.

Several API processes do so at the same time. Of two that find the same, a unique key or a lock on the run's
row lets one enqueue it.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, and_, bindparam, case, func, insert, or_, select, true
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from producer.progress.reasons import current_outages
from producer.runs import summary
from producer.webhooks.kinds import PROGRESS, Kind, message_type, wants
from schema.database import Database
from schema.parameters import solver_key
from schema.states import LIVE_RUNS, DeliveryState, PausedBy, RunState
from schema.tables import Chip, Event, Run
from schema.tables.api import Delivery, RunSubmission
from schema.tables.runs import is_read

_BATCH = 20
_SHORT = timedelta(seconds=30)  # shorter outages are not told
_SLACK = timedelta(hours=1)  # longer than from `finished_at` to its commit, and than clocks differ
_SILENT = (PausedBy.WINDOW, PausedBy.DEADLINE)  # as was asked; and it ends, which is told
# Statements that run every half second are built once: building one takes longer than running it.
_UNFINISHED = (
    select(Run.id)
    .join(RunSubmission, RunSubmission.run_id == Run.id)
    .where(Run.state.in_((*LIVE_RUNS, RunState.PAUSED)), RunSubmission.webhook_url.is_not(None))
    .limit(1)
)
_UNTOLD_ENDS = (
    select(Run.id, Run.finished_at)
    .join(RunSubmission, RunSubmission.run_id == Run.id)
    .outerjoin(
        Delivery,
        and_(
            Delivery.run_id == Run.id,
            Delivery.event == Kind.ENDED,
            Delivery.happened_at == Run.finished_at,
        ),
    )
    .where(wants(Kind.ENDED), Run.finished_at.is_not(None), Delivery.id.is_(None))
    .order_by(Run.finished_at)
    .limit(_BATCH)
)
_RECENT_ENDS = _UNTOLD_ENDS.where(Run.finished_at >= bindparam("since"))


def enqueue_notices(database: Database, since: datetime | None = None) -> datetime | None:
    """Insert a delivery for all that is to be told about runs in ``database``.

    Only runs finished after ``since`` are examined; None means all runs, which takes longer the more there
    are. Returns the next ``since``: runs finished after it may still be missing.
    """
    following = enqueue_ends(database, since)
    with database.reading() as session:
        if session.execute(_UNFINISHED).first() is None:
            return following  # all else is told about unfinished runs
    for enqueue in (enqueue_outages, enqueue_alarms, enqueue_pauses, enqueue_rounds, enqueue_progress):
        enqueue(database)
    return following


def enqueue_ends(database: Database, since: datetime | None = None) -> datetime | None:
    """Insert a delivery for every finished run in ``database`` whose webhook is not told yet.

    ``since`` and the value are those of `enqueue_notices`.
    """
    with database.reading() as session:
        now = database.now(session)
        query, values = (_UNTOLD_ENDS, {}) if since is None else (_RECENT_ENDS, {"since": since})
        ends = session.execute(query, values).all()
    _insert_all(database, Kind.ENDED, ((run, at) for run, at in ends if at is not None))
    return since if len(ends) == _BATCH else now - _SLACK


def enqueue_outages(database: Database) -> None:
    """Insert a delivery for each live run in ``database`` whose solver has begun to fail, or answers again.

    Outages of less than 30 seconds are not told. Each run is told about one outage at a time, and nothing
    about its end if the run has finished.
    """
    _insert_locked(database, _outage_changes)


def enqueue_progress(database: Database) -> None:
    """Insert a delivery for each live run in ``database`` that has passed a quarter of its batches.

    Of several quarters since the latest look, the last one is told.
    """
    _insert_locked(database, _quarters)


def enqueue_alarms(database: Database) -> None:
    """Insert a delivery for each live run in ``database`` on a chip about which there is a new alarm."""
    told = select(Delivery.id).where(Delivery.run_id == Run.id, Delivery.happened_at == Chip.alarmed_at)
    query = (
        select(Run.id, Chip.alarmed_at)
        .join(RunSubmission, RunSubmission.run_id == Run.id)
        .join(Chip, and_(Chip.name == Run.qpu, Chip.graph_id == Run.graph_id))
        .where(wants(Kind.ALARM), Run.state.in_(LIVE_RUNS))
        .where(Chip.alarmed_at.is_not(None), ~told.where(Delivery.event == Kind.ALARM).exists())
    )
    with database.reading() as session:
        alarms = session.execute(query.limit(_BATCH)).all()
    _insert_all(database, Kind.ALARM, ((run, at) for run, at in alarms if at is not None))


def enqueue_rounds(database: Database) -> None:
    """Insert a delivery for each live run in ``database`` of which another round of reads has begun."""
    begun = and_(Event.subject == Run.__tablename__, Event.row == Run.id, Event.why.like("round % begins: %"))
    told = select(Delivery.id).where(Delivery.run_id == Run.id, Delivery.happened_at == Event.at)
    query = (
        select(Run.id, Event.at)
        .join(RunSubmission, RunSubmission.run_id == Run.id)
        .join(Event, begun)
        .where(wants(Kind.ROUND), Run.state.in_(LIVE_RUNS), Run.round > 1)
        .where(~told.where(Delivery.event == Kind.ROUND).exists())
    )
    with database.reading() as session:
        found = session.execute(query.limit(_BATCH)).all()
    _insert_all(database, Kind.ROUND, ((run, at) for run, at in found))


def enqueue_pauses(database: Database) -> None:
    """Insert a delivery for each run in ``database`` that is paused, because its budget is spent or else."""
    for kind, condition in (
        (Kind.BUDGET, Run.paused_by == PausedBy.BUDGET),
        (Kind.PAUSED, Run.paused_by.not_in((PausedBy.BUDGET, *_SILENT))),
    ):
        told = and_(Delivery.run_id == Run.id, Delivery.event == kind, Delivery.happened_at == Run.paused_at)
        query = (
            select(Run.id, Run.paused_at)
            .join(RunSubmission, RunSubmission.run_id == Run.id)
            .where(wants(kind), Run.state == RunState.PAUSED, condition, Run.paused_at.is_not(None))
            .where(~select(Delivery.id).where(told).exists())
        )
        with database.reading() as session:
            pauses = session.execute(query.limit(_BATCH)).all()
        _insert_all(database, kind, ((run, at) for run, at in pauses if at is not None))


def insert_delivery(session: Session, values: dict[str, Any], body: dict[str, Any], now: datetime) -> int:
    """Insert a delivery of ``body`` with ``values`` by ``session``, due ``now``; return its id."""
    common = {
        "event_id": f"msg_{secrets.token_hex(16)}",
        "state": DeliveryState.PENDING,
        "body": json.dumps(body),
        "due_at": now,
        "created_at": now,
    }
    inserted = insert(Delivery).values({**common, **values}).returning(Delivery.id)
    return session.execute(inserted).scalar_one()


def _insert_all(database: Database, event: str, found: Iterable[tuple[int, datetime]]) -> None:
    """Insert a delivery about ``event`` for each run and the time when it happened, once."""
    for run, happened_at in found:
        with suppress(IntegrityError), database.transaction() as session:  # another process was faster
            _insert(session, run, event, happened_at, database.now(session))


_Find = Callable[[Session, datetime, int | None], dict[int, str]]


def _insert_locked(database: Database, find: _Find) -> None:
    """Insert a delivery for each run that ``find`` returns with an event, for all runs or one of them."""
    with database.reading() as session:
        found = find(session, database.now(session), None)
    for run in found:
        with suppress(IntegrityError), database.transaction() as session:
            # The lock makes other API processes wait, which then find nothing to do.
            session.execute(select(Run.id).where(Run.id == run).with_for_update())
            now = database.now(session)
            if (event := find(session, now, run).get(run)) is not None:
                _insert(session, run, event, now, now)


def _insert(session: Session, run: int, event: str, happened_at: datetime, now: datetime) -> None:
    data = summary.run_object(session, run, now)
    if event in PROGRESS:
        data["percent"] = int(event.rpartition("_")[2])
    owner = session.execute(select(RunSubmission.owner_id).where(RunSubmission.run_id == run)).scalar()
    body = {
        "type": message_type(event, data["state"]),
        "timestamp": happened_at.isoformat(),
        "data": data,
    }
    values = {"run_id": run, "owner_id": owner, "event": event, "happened_at": happened_at}
    insert_delivery(session, values, body, now)


def _outage_changes(session: Session, now: datetime, run: int | None) -> dict[int, str]:
    """Return what to tell live runs with a webhook, or one of them: that they wait, or have resumed."""
    outages = current_outages(session)
    if not outages and session.execute(select(Delivery.id).where(_is_waiting()).limit(1)).first() is None:
        return {}
    about = (Delivery.run_id == Run.id, Delivery.event.in_((Kind.WAITING, Kind.RESUMED, Kind.ENDED)))
    newest = select(func.max(Delivery.happened_at)).where(*about).correlate(Run).scalar_subquery()
    told = and_(*about, Delivery.happened_at == newest)
    rows = session.execute(
        select(Run.id, Run.solver, Run.parameters, Run.qpu, Delivery.event)
        .join(RunSubmission, RunSubmission.run_id == Run.id)
        .outerjoin(Delivery, told)
        .where(or_(wants(Kind.WAITING), wants(Kind.RESUMED)), Run.state.in_(LIVE_RUNS))
        .where(Run.id == run if run is not None else true())
    )
    changes = {}
    for row in rows:
        outage = outages.get(solver_key(row.solver, row.parameters, row.qpu))
        opened_at = None if outage is None else outage.opened_at
        if row.event == Kind.WAITING:
            if opened_at is None:
                changes[row.id] = str(Kind.RESUMED)
        elif opened_at is not None and opened_at <= now - _SHORT:
            changes[row.id] = str(Kind.WAITING)
    return changes


def _is_waiting() -> ColumnElement[bool]:
    live = select(Run.id).where(Run.state.in_(LIVE_RUNS))
    return and_(Delivery.event == Kind.WAITING, Delivery.run_id.in_(live))


def _quarters(session: Session, _now: datetime, run: int | None) -> dict[int, str]:
    """Return the quarter to tell each live run with a webhook that wants it, or one of them."""
    scored = 4 * Run.batches_scored
    reached = case(*((scored >= (k + 1) * Run.batches, PROGRESS[k]) for k in (2, 1, 0)), else_="")
    about = (Delivery.run_id == Run.id, Delivery.event.in_(PROGRESS))
    told = select(func.coalesce(func.max(Delivery.event), "")).where(*about).correlate(Run).scalar_subquery()
    rows = session.execute(
        select(Run.id, reached)
        .join(RunSubmission, RunSubmission.run_id == Run.id)
        .where(wants(Kind.PROGRESS), Run.state.in_(LIVE_RUNS), is_read(), reached > told)
        .where(Run.id == run if run is not None else true())
        .limit(_BATCH)
    )
    return {number: mark for number, mark in rows}  # noqa: C416
