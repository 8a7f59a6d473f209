"""Connects the dashboard to the API: visitors log in with an API key, and change runs as the API does."""

from __future__ import annotations

from collections.abc import Callable

from starlette.requests import Request

from producer.api.core.errors import respond
from producer.api.core.run_permissions import check_own, check_seen
from producer.api.core.service import Service
from producer.api.keys.keys import Scope
from producer.dashboard.app import Dashboard, Visitor
from producer.runs import control
from schema.database import Database

_ACTIONS: dict[str, Callable[[Database, int], object]] = {
    "pause": control.pause,
    "resume": control.resume,
    "cancel": control.cancel,
}


def dashboard(service: Service) -> Dashboard:
    """Return the pages over ``service``."""

    def admit(request: Request, key: str | None) -> Visitor:
        caller = service.authenticator.authenticate_browser(request, Scope.READ, key)

        def check(run: int) -> None:
            check_seen(service.database, caller, run)

        def change(run: int, action: str) -> None:
            check_own(service.database, caller, run)
            _ACTIONS[action](service.database, run)
            service.notifier.notify()

        name = None if caller.key_id is None else caller.name
        return Visitor(name, caller.scope.allows(Scope.SUBMIT), caller.only, check, change)

    return Dashboard(service.database, admit, respond)
