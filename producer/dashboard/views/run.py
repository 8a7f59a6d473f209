"""One run: its page, and what changes about it."""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from producer.dashboard.report import content, run_report
from producer.dashboard.views.run_parts import RunCaches, live_page
from producer.dashboard.web.drawing import Drawing, digest
from producer.dashboard.web.parts import LivePage
from producer.dashboard.web.visit import Visit


class RunPages:
    """The page of a run; ``caches`` are shared with other pages."""

    def __init__(self, caches: RunCaches) -> None:
        self._caches = caches

    def show(self, visit: Visit) -> Response:
        """Show the run of ``visit``; the page updates itself until the run is finished."""
        page = self._page(visit, whole=True)
        here = _here(visit)
        return visit.render("run.html.j2", here=here, **page.values(f"{here}/parts"))

    def update(self, visit: Visit) -> Response:
        """Send the parts that differ from those that the browser of ``visit`` shows."""
        return self._page(visit, whole=False).update(visit, f"{_here(visit)}/parts")

    def _page(self, visit: Visit, *, whole: bool) -> LivePage:
        about: dict[str, Any] = {
            "root": visit.root,
            "here": _here(visit),
            "may_act": visit.visitor.may_act,
        }
        with visit.database.reading() as session:
            now = visit.database.now(session)
            return live_page(session, visit.number("run"), now, self._caches, about, whole=whole)


def report(visit: Visit) -> Drawing:
    """Send the report of the run of ``visit`` as one file."""
    number, database = visit.number("run"), visit.database

    def draw() -> bytes:
        with database.reading() as session:
            return run_report.html(session, number).encode()

    with database.reading() as session:
        decides = content.of_report(session, number)
    return Drawing(number, "report", digest(decides), "text/html", draw, {})


def _here(visit: Visit) -> str:
    return f"{visit.root}/runs/{visit.number('run')}"
