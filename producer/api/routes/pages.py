"""Connects the dashboard to the API: visitors log in with an API key, and change runs as the API does."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request

from producer.api.core.errors import respond
from producer.api.core.run_permissions import check_own, check_seen
from producer.api.core.service import Service
from producer.api.keys.keys import Caller, Scope
from producer.dashboard.views import actions, images, run, run_history, runs, solvers
from producer.dashboard.views.images import ImagePages
from producer.dashboard.views.run import RunPages
from producer.dashboard.views.run_parts import RunCaches
from producer.dashboard.web.renderings import Renderings
from producer.dashboard.web.site import Route, Site
from producer.dashboard.web.visitor import Visitor
from producer.runs import control, prune
from schema.errors import RequestRefused


def dashboard(service: Service) -> Site:
    """Return the pages over ``service``."""

    def admit(request: Request, key: str | None) -> Visitor:
        caller = service.authenticator.authenticate_browser(request, Scope.READ, key)
        request.state.caller = caller

        def check(number: int) -> None:
            check_seen(service.database, caller, number)

        def change(run: int, action: str, **options: Any) -> None:
            check_own(service.database, caller, run)
            _change(service, caller, run, action, **options)
            service.notifier.notify()

        name = None if caller.owner_id is None else caller.name
        return Visitor(name, caller.scope.allows(Scope.SUBMIT), caller.only, check, change)

    renderings = Renderings(service.database, service.pools.programs.run)
    return Site(service.database, admit, service.pools.pages.run, renderings, respond, _routes())


def _routes() -> list[Route]:
    caches = RunCaches()
    run_pages, image_pages = RunPages(caches), ImagePages(caches)
    here = "/runs/{run:int}"
    return [
        ("GET", "/", runs.show),
        ("GET", "/runs/parts", runs.update),
        ("POST", "/runs", actions.choose),
        ("GET", "/solvers", solvers.show),
        ("GET", "/embeddings/{embedding:int}.png", solvers.embedding_png),
        ("GET", here, run_pages.show),
        ("GET", f"{here}/parts", run_pages.update),
        ("GET", f"{here}/report.html", run.report),
        ("GET", f"{here}/history", run_history.show),
        ("GET", f"{here}/images", image_pages.grid),
        ("GET", f"{here}/images/{{image:int}}", image_pages.show),
        ("GET", f"{here}/images/{{image:int}}/energies.svg", images.energies),
        ("GET", f"{here}/{{act:str}}", actions.ask),
        ("POST", f"{here}/{{act:str}}", actions.act),
    ]


def _change(
    service: Service,
    caller: Caller,
    run: int,
    action: str,
    *,
    budget_s: float | None = None,
    at_once: bool = False,
) -> None:
    if action == "pause":
        control.pause(service.database, run)
    elif action == "cancel":
        control.cancel(service.database, run)
    elif action == "delete":
        prune.delete_run(service.database, run)
    else:
        if budget_s is not None and caller.scope is not Scope.ADMIN:
            raise RequestRefused(
                f"key {caller.name!r} has scope {caller.scope}; only scope admin may change a budget",
                403,
                "resume without a new budget, or log in with a key of scope admin",
            )
        budget_us = None if budget_s is None else max(round(budget_s * 1e6), 1)
        control.resume(service.database, run, budget_us, at_once=at_once)
