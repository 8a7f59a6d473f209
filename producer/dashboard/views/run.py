"""One run: its page, and what changes about it."""

from __future__ import annotations

from typing import Any

from sqlalchemy.orm import Session
from starlette.responses import Response

from producer.dashboard.report import content, run_report
from producer.dashboard.views.run_parts import PageState, RunCaches, live_page, read_state
from producer.dashboard.web import parts
from producer.dashboard.web.drawing import Drawing, digest
from producer.dashboard.web.visit import Visit


class RunPages:
    """The page of a run; ``caches`` are shared with other pages."""

    def __init__(self, caches: RunCaches) -> None:
        self._caches = caches

    def show(self, visit: Visit) -> Response:
        """Show the run of ``visit``; the page updates itself until the run is finished."""
        with visit.database.reading() as session:
            page = live_page(session, self._state(visit, session), self._caches, whole=True)
        here = _here(visit)
        return visit.render("run.html.j2", here=here, **page.values(f"{here}/parts"))

    def update(self, visit: Visit) -> Response:
        """Send the parts that differ from those that the browser of ``visit`` shows.

        Whether any can differ is decided by a few rows, before results are counted and parts rendered.
        """
        with visit.database.reading() as session:
            state = self._state(visit, session)
            if parts.shows(visit, state.digest):
                return parts.unchanged()
            page = live_page(session, state, self._caches, whole=False)
        return page.update(visit, f"{_here(visit)}/parts")

    def _state(self, visit: Visit, session: Session) -> PageState:
        return read_state(session, visit.number("run"), visit.database.now(session), _about(visit))


def report(visit: Visit) -> Drawing:
    """Send the report of the run of ``visit`` as one file."""
    number, database = visit.number("run"), visit.database

    def draw() -> bytes:
        with database.reading() as session:
            return run_report.html(session, number).encode()

    with database.reading() as session:
        decides = content.of_report(session, number)
    return Drawing(number, "report", digest(decides), "text/html", draw, {})


def _about(visit: Visit) -> dict[str, Any]:
    return {"root": visit.root, "here": _here(visit), "may_act": visit.visitor.may_act}


def _here(visit: Visit) -> str:
    return f"{visit.root}/runs/{visit.number('run')}"
