"""The list of runs."""

from __future__ import annotations

from starlette.responses import Response

from producer.dashboard.views import overview
from producer.dashboard.web.visit import Visit
from producer.progress.reasons import outages_of
from producer.runs import queries

_PAGE = 50  # runs


def show(visit: Visit) -> Response:
    """Show the runs of the visitor of ``visit``, newest first."""
    with visit.database.reading() as session:
        before = visit.asked_number("before")
        runs = queries.runs(session, _PAGE, before=before, owned_by=visit.visitor.only)
        outages = outages_of(session, runs)
        tiles = overview.queue_tiles(session, visit.database.now(session))
    return visit.render(
        "runs.html.j2",
        runs=[overview.run_row(run, outages.get(run.run_id)) for run in runs],
        older=runs[-1].run_id if len(runs) == _PAGE else None,
        tiles=tiles,
        live=True,
    )
