"""Connects the dashboard to the API: visitors log in with an API key, and change runs as the API does."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

from starlette.datastructures import UploadFile
from starlette.requests import Request

from producer.api.core.errors import respond
from producer.api.core.run_permissions import check_own, check_seen
from producer.api.core.service import Service
from producer.api.keys import listing as keys_listing
from producer.api.keys.authentication import SESSION
from producer.api.keys.keys import Caller, Scope
from producer.api.routes.page_actions import DeliveryPageActions, OwnerPageActions, change_run
from producer.dashboard.views import (
    actions,
    change,
    compare,
    downloads,
    run,
    run_history,
    runs,
    submit,
)
from producer.dashboard.views.energies import EnergyCharts
from producer.dashboard.views.images import ImagePages
from producer.dashboard.views.lists import chips, networks, schedules, solvers, workers
from producer.dashboard.views.lists.deliveries import DeliveryPages
from producer.dashboard.views.lists.keys import KeyPages
from producer.dashboard.views.lists.owners import OwnerPages
from producer.dashboard.views.run import RunPages
from producer.dashboard.views.run_parts import RunCaches
from producer.dashboard.web.renderings import Renderings
from producer.dashboard.web.site import Route, Site
from producer.dashboard.web.visitor import Door, Visitor
from producer.enqueued import Enqueued
from producer.webhooks import listing as deliveries_listing

Enqueue = Callable[[Service, Caller, list[tuple[str, UploadFile | str]], str | None], Enqueued]
_MAX_FILES = 10_001


def dashboard(service: Service, enqueue: Enqueue) -> Site:
    """Return the pages over ``service``; ``enqueue`` submits a form."""

    authenticator = service.authenticator

    def admit(request: Request, cookie: str | None) -> Visitor:
        caller = authenticator.identify_visitor(request, Scope.READ, cookie)
        request.state.caller = caller

        def check(number: int) -> None:
            check_seen(service.database, caller, number)

        def perform(run: int, action: str, **options: Any) -> None:
            check_own(service.database, caller, run)
            change_run(service.database, caller, run, action, **options)
            service.notifier.notify()

        def send(parts: list[tuple[str, UploadFile | str]], key: str) -> int:
            return enqueue(service, caller, parts, key).id

        name = None if caller.owner_id is None and authenticator.is_open else caller.name
        may_act, is_admin = (caller.scope.allows(scope) for scope in (Scope.SUBMIT, Scope.ADMIN))
        return Visitor(name, may_act, is_admin, caller.only, check, send, perform)

    renderings = Renderings(service.database, service.pools.programs.run)
    # Cookies are not kept apart by port: another server on this machine must not take ours for its own.
    cookie = f"annealq-{hashlib.sha256(str(service.database.url).encode()).hexdigest()[:8]}"
    door = Door(cookie, SESSION, admit, authenticator.begin_session, authenticator.end_session)
    return Site(service.database, door, service.pools.pages.run, renderings, respond, _routes(service))


def _routes(service: Service) -> list[Route]:
    caches = RunCaches()
    run_pages, image_pages = RunPages(caches), ImagePages(caches, EnergyCharts(service.notifier.notify))
    webhooks = service.database, service.api.webhook_private
    actions_of_owners = OwnerPageActions(*webhooks)
    key_pages = KeyPages(keys_listing.summaries, actions_of_owners.add)
    owner_pages = OwnerPages(actions_of_owners)
    delivery_pages = DeliveryPages(deliveries_listing.summaries, DeliveryPageActions(*webhooks))
    here = "/runs/{run:int}"
    return [
        Route("GET", "/", runs.show),
        Route("GET", "/runs/parts", runs.update),
        Route("POST", "/runs", actions.choose),
        Route("GET", "/compare", compare.show),
        Route("GET", "/submit", submit.ask),
        Route("POST", "/submit", submit.send, _MAX_FILES),
        Route("GET", "/networks", networks.show),
        Route("POST", "/networks", networks.choose),
        Route("GET", "/workers", workers.show),
        Route("GET", "/workers/parts", workers.update),
        Route("GET", "/solvers", solvers.show),
        Route("GET", "/chips/{chip:int}", chips.show),
        Route("GET", "/chips/{chip:int}/heat-map.png", chips.heat_map),
        Route("GET", "/embeddings/{embedding:int}.png", solvers.embedding_png),
        Route("GET", "/schedules", schedules.show),
        Route("POST", "/schedules/{name:str}/{act:str}", schedules.act),
        Route("GET", "/deliveries", delivery_pages.show),
        Route("GET", "/deliveries/{delivery:int}", delivery_pages.show_one),
        Route("POST", "/deliveries/test", delivery_pages.test),
        Route("POST", "/deliveries/{delivery:int}/redeliver", delivery_pages.send_again),
        Route("GET", "/keys", key_pages.show),
        Route("POST", "/keys", key_pages.add),
        Route("GET", "/keys/{name:str}", owner_pages.show),
        Route("POST", "/keys/{name:str}", owner_pages.change),
        Route("GET", "/keys/{name:str}/{act:str}", owner_pages.ask),
        Route("POST", "/keys/{name:str}/{act:str}", owner_pages.act),
        Route("GET", here, run_pages.show),
        Route("GET", f"{here}/parts", run_pages.update),
        Route("GET", f"{here}/report.html", run.report),
        Route("GET", f"{here}/results.{{suffix:str}}", downloads.send),
        Route("GET", f"{here}/bundle.zip", downloads.bundle(service.settings)),
        Route("GET", f"{here}/history", run_history.show),
        Route("GET", f"{here}/images", image_pages.grid),
        Route("GET", f"{here}/images/{{image:int}}", image_pages.show),
        Route("GET", f"{here}/images/{{image:int}}/energies.svg", image_pages.energies),
        Route("GET", f"{here}/change", change.ask),
        Route("POST", f"{here}/change", change.send),
        Route("GET", f"{here}/{{act:str}}", actions.ask),
        Route("POST", f"{here}/{{act:str}}", actions.act),
    ]
