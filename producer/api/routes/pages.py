"""Connects the dashboard to the API: visitors log in with an API key, and change runs as the API does."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from pydantic import ValidationError
from starlette.datastructures import UploadFile
from starlette.requests import Request

from producer.api.core.errors import InvalidFields, respond
from producer.api.core.run_permissions import check_own, check_seen
from producer.api.core.service import Service
from producer.api.keys import keys
from producer.api.keys import listing as keys_listing
from producer.api.keys.authentication import SESSION
from producer.api.keys.keys import Caller, NewKey, Scope
from producer.api.routes.runs.changes import RunChanges
from producer.api.routes.runs.conflicts import new_budget_us
from producer.dashboard.views import (
    actions,
    change,
    compare,
    downloads,
    images,
    run,
    run_history,
    runs,
    submit,
)
from producer.dashboard.views.images import ImagePages
from producer.dashboard.views.lists import chips, networks, schedules, solvers, workers
from producer.dashboard.views.lists.deliveries import DeliveryPages
from producer.dashboard.views.lists.keys import KeyPages
from producer.dashboard.views.run import RunPages
from producer.dashboard.views.run_parts import RunCaches
from producer.dashboard.web.renderings import Renderings
from producer.dashboard.web.site import Route, Site
from producer.dashboard.web.visit import Visit
from producer.dashboard.web.visitor import Door, Visitor
from producer.enqueued import Enqueued
from producer.runs import control, prune
from producer.webhooks import deliveries
from producer.webhooks import listing as deliveries_listing
from producer.webhooks.addresses import check_url
from producer.webhooks.listing import DeliverySummary, PastAttempt
from schema.database import Database
from schema.errors import ParameterError, RequestRefused

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
            _change(service, caller, run, action, **options)
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
    run_pages, image_pages = RunPages(caches), ImagePages(caches)
    key_pages = KeyPages(keys_listing.summaries, _KeyChanges())
    delivery_pages = DeliveryPages(deliveries_listing.summaries, _DeliveryActions(service))
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
        Route("GET", "/keys/{name:str}/{act:str}", key_pages.ask),
        Route("POST", "/keys/{name:str}/{act:str}", key_pages.act),
        Route("GET", here, run_pages.show),
        Route("GET", f"{here}/parts", run_pages.update),
        Route("GET", f"{here}/report.html", run.report),
        Route("GET", f"{here}/results.{{suffix:str}}", downloads.send),
        Route("GET", f"{here}/history", run_history.show),
        Route("GET", f"{here}/images", image_pages.grid),
        Route("GET", f"{here}/images/{{image:int}}", image_pages.show),
        Route("GET", f"{here}/images/{{image:int}}/energies.svg", images.energies),
        Route("GET", f"{here}/change", change.ask),
        Route("POST", f"{here}/change", change.send),
        Route("GET", f"{here}/{{act:str}}", actions.ask),
        Route("POST", f"{here}/{{act:str}}", actions.act),
    ]


class _KeyChanges:
    """What the page of keys does."""

    def add(
        self, database: Database, name: str, scope: str, all_runs: bool, lifetime: timedelta | None
    ) -> NewKey:
        return keys.add(database, name, Scope(scope), all_runs=all_runs, lifetime=lifetime)

    def rotate(self, database: Database, name: str, grace: timedelta, lifetime: timedelta | None) -> NewKey:
        return keys.rotate(database, name, grace, lifetime)

    def revoke(self, database: Database, name: str, prefix: str | None) -> int:
        return keys.revoke(database, name, prefix)


@dataclass(frozen=True)
class _DeliveryActions:
    """What the pages of messages to webhooks do."""

    service: Service

    def find(self, visit: Visit, number: int) -> tuple[DeliverySummary, list[PastAttempt], str]:
        with self.service.database.reading() as session:
            found = deliveries_listing.summary(session, number, visit.visitor.only)
            tries = deliveries_listing.attempts(session, number)
            return found, tries, deliveries_listing.body(session, number)

    def redeliver(self, visit: Visit, number: int) -> None:
        found, *_ = self.find(visit, number)
        if not visit.visitor.is_admin and found.owner != visit.visitor.name:
            message = f"message {number} is not one of key {visit.visitor.name!r}"
            raise RequestRefused(message, 403, "log in with a key of its owner, or one of scope admin")
        deliveries.redeliver(self.service.database, number)

    def send_test(self, visit: Visit, url: str | None) -> int:
        caller: Caller = visit.request.state.caller
        if caller.owner_id is None:
            raise ParameterError(
                "a test message is signed with the secret of a key's owner: log in with a key"
            )
        if url is not None:
            check_url(url, allow_private=self.service.api.webhook_private)
        return deliveries.send_test(self.service.database, caller.name, url)


def _change(
    service: Service,
    caller: Caller,
    run: int,
    action: str,
    *,
    budget_s: float | None = None,
    at_once: bool = False,
    changes: Mapping[str, Any] | None = None,
) -> None:
    if changes is not None:
        try:
            made = RunChanges.model_validate(dict(changes)).made_by(caller)
        except ValidationError as error:
            raise InvalidFields(error.errors(), "body") from None
        control.change_run(service.database, run, made)
    elif action == "pause":
        control.pause(service.database, run)
    elif action == "cancel":
        control.cancel(service.database, run)
    elif action == "delete":
        prune.delete_run(service.database, run)
    else:
        budget_us = None if budget_s is None else new_budget_us(caller, budget_s)
        control.resume(service.database, run, budget_us, at_once=at_once)
