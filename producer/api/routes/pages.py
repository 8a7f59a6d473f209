"""Connects the dashboard to the API: visitors log in with an API key, and change runs as the API does."""

from __future__ import annotations

from collections.abc import Callable

from starlette.requests import Request

from producer.api.core.errors import respond
from producer.api.core.run_permissions import check_own, check_seen
from producer.api.core.service import Service
from producer.api.keys.keys import Scope
from producer.dashboard.views import image, run, runs, solvers
from producer.dashboard.web.renderings import Renderings
from producer.dashboard.web.site import Site
from producer.dashboard.web.visit import View
from producer.dashboard.web.visitor import Visitor
from producer.runs import control
from schema.database import Database

_ACTIONS: dict[str, Callable[[Database, int], object]] = {
    "pause": control.pause,
    "resume": control.resume,
    "cancel": control.cancel,
}


_VIEWS: tuple[tuple[str, str, View], ...] = (
    ("GET", "/", runs.show),
    ("GET", "/solvers", solvers.show),
    ("GET", "/embeddings/{embedding:int}.png", solvers.embedding_png),
    ("GET", "/runs/{run:int}", run.show),
    ("GET", "/runs/{run:int}/report.html", run.report),
    ("GET", "/runs/{run:int}/images/{image:int}", image.show),
    ("GET", "/runs/{run:int}/images/{image:int}/energies.svg", image.energies),
    ("POST", "/runs/{run:int}/{act:str}", run.act),
)


def dashboard(service: Service) -> Site:
    """Return the pages over ``service``."""

    def admit(request: Request, key: str | None) -> Visitor:
        caller = service.authenticator.authenticate_browser(request, Scope.READ, key)
        request.state.caller = caller

        def check(number: int) -> None:
            check_seen(service.database, caller, number)

        def change(number: int, action: str) -> None:
            check_own(service.database, caller, number)
            _ACTIONS[action](service.database, number)
            service.notifier.notify()

        name = None if caller.owner_id is None else caller.name
        return Visitor(name, caller.scope.allows(Scope.SUBMIT), caller.only, check, change)

    renderings = Renderings(service.database, service.pools.programs.run)
    return Site(service.database, admit, service.pools.pages.run, renderings, respond, _VIEWS)
