"""What happened to a run: its batches with errors, its problems, and its events with their actors."""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import datetime
from itertools import chain

from sqlalchemy import select
from sqlalchemy.orm import Session
from starlette.responses import Response

from producer.dashboard.web.visit import Visit
from producer.runs import queries
from schema.quantities import count_text
from schema.states import BatchState
from schema.tables import Batch, Event, Problem

_PAGE = 100  # events or batches
_OF_BATCHES = (BatchState.FAILED, BatchState.PENDING)  # states whose reasons are of interest


@dataclass(frozen=True)
class FailedBatch:
    """A batch with an error: it has failed for good, or will be tried again."""

    ordinal: int
    state: BatchState
    first_image: int
    count: int
    attempts: int
    error: str
    due_at: datetime


@dataclass(frozen=True)
class RunEvent:
    """A move of a run, or of one of its batches, from state to state; ``key`` orders events."""

    key: int
    at: datetime
    what: str
    why: str | None
    actor: str | None


def failures(session: Session, run: int, limit: int) -> list[FailedBatch]:
    """Return up to ``limit`` batches of ``run`` in ``session`` that have an error, failed ones first."""
    columns = [getattr(Batch, column.name) for column in fields(FailedBatch)]
    rows = session.execute(
        select(*columns)
        .where(Batch.run_id == run, Batch.error.is_not(None), Batch.state != BatchState.SCORED)
        .order_by(Batch.state != BatchState.FAILED, Batch.ordinal)
        .limit(limit)
    )
    return [FailedBatch(*row) for row in rows]


def events(
    session: Session, run: int, limit: int, before: int | None = None, *, batches: bool = False
) -> list[RunEvent]:
    """Return up to ``limit`` events of ``run`` in ``session``, newest first; those ``before`` a key.

    With ``batches``, events of its batches are included if they say why.
    """
    parts = [select(Event).where(Event.subject == "runs", Event.row == run)]
    if batches:  # in a query of its own: in one, PostgreSQL reads the events of all batches there are
        own = Event.row.in_(select(Batch.id).where(Batch.run_id == run))
        why = (Event.target.in_(_OF_BATCHES), Event.why.is_not(None))
        parts.append(select(Event).where(Event.subject == "batches", own, *why))
    if before is not None:
        parts = [part.where(Event.id < before) for part in parts]
    newest = (session.execute(part.order_by(Event.id.desc()).limit(limit)).scalars() for part in parts)
    found = sorted(chain.from_iterable(newest), key=lambda event: event.id, reverse=True)[:limit]
    numbers = [event.row for event in found if event.subject == "batches"]
    rows = session.execute(select(Batch.id, Batch.ordinal).where(Batch.id.in_(numbers)))
    ordinals = {row.id: row.ordinal for row in rows}
    return [RunEvent(event.id, event.at, _what(event, ordinals), event.why, event.actor) for event in found]


def show(visit: Visit) -> Response:
    """Show the batches with errors, the problems with errors and the events of the run of ``visit``."""
    number, before = visit.number("run"), visit.asked_number("before")
    with visit.database.reading() as session:
        run = queries.run(session, number)
        shown = events(session, number, _PAGE, before, batches=True)
        failed = failures(session, number, _PAGE)
        problems = session.execute(
            select(Batch.ordinal, Problem)
            .join(Batch, Batch.id == Problem.batch_id)
            .where(Batch.run_id == number, Problem.error.is_not(None))
            .order_by(Problem.id.desc())
            .limit(_PAGE)
        ).all()
    return visit.render(
        "history.html.j2",
        title=f"What happened to run {number}",
        run=run,
        here=f"{visit.root}/runs/{number}",
        failures=failed,
        batches=f"{count_text(run.batches, 'batch')}, {run.batches_scored:,} scored, "
        f"{run.batches_failed:,} failed",
        problems=[(ordinal, problem) for ordinal, problem in problems],
        events=shown,
        older=shown[-1].key if len(shown) == _PAGE else None,
    )


def _what(event: Event, ordinals: dict[int, int]) -> str:
    subject = "" if event.subject == "runs" else f"batch {ordinals[event.row]}: "
    if event.source is None or event.source == event.target:
        return f"{subject}{event.target}"
    return f"{subject}{event.source} → {event.target}"
