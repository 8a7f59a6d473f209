"""Workers: who is alive, and what they do."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy.orm import Session
from starlette.responses import Response

from producer.dashboard.web.parts import LivePage, render_part
from producer.dashboard.web.tables import Cell, Link, Mark, PageTable
from producer.dashboard.web.visit import Visit
from producer.progress.workers import WorkerState, WorkerSummary, list_workers
from schema.quantities import duration_text

_EVERY_S = 5
_COLOURS = {WorkerState.WORKING: "right", WorkerState.DEAD: "wrong", WorkerState.STOPPED: "soft"}


def show(visit: Visit) -> Response:
    """Show the workers; the page of ``visit`` updates itself."""
    return visit.render("run.html.j2", **_page(visit).values(f"{visit.root}/workers/parts"))


def update(visit: Visit) -> Response:
    """Send the table if the browser of ``visit`` shows another one."""
    return _page(visit).update(visit, f"{visit.root}/workers/parts")


def _page(visit: Visit) -> LivePage:
    with visit.database.reading() as session:
        listing = _listing(session, visit.database.now(session), visit)
    part = render_part("listing_part.html.j2", {"title": "Workers", "listing": listing, "root": visit.root})
    return LivePage({"workers": part}, "Workers", "none", _EVERY_S)


def _listing(session: Session, now: datetime, visit: Visit) -> PageTable:
    return PageTable(
        title="",
        caption="processes of workers, those seen last first",
        columns=("worker", "state", "does", "since", "run", "last seen", "started", "version"),
        rows=[_row(worker, now, visit) for worker in list_workers(session, now)],
        empty="No worker has said yet that it is alive: start one with annealq up, or annealq worker.",
    )


def _row(worker: WorkerSummary, now: datetime, visit: Visit) -> list[Cell]:
    run: Cell = None
    if worker.run_id is not None:
        sees_all = visit.visitor.only is None
        run = Link(str(worker.run_id), f"/runs/{worker.run_id}") if sees_all else None
    since = None if worker.task_since is None else duration_text((now - worker.task_since).total_seconds())
    return [
        f"{worker.host}, process {worker.pid}",
        Mark(worker.state, _COLOURS.get(worker.state, "")),
        worker.task,
        since,
        run,
        worker.seen_at,
        worker.started_at,
        worker.version,
    ]
