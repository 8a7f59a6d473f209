"""The dashboard's way in: pages know a visitor by the API key in a cookie, and act as its API would."""

from __future__ import annotations

from collections.abc import Callable

from starlette.requests import Request

from producer.api.core.authentication import admit
from producer.api.core.run_permissions import check_own, check_seen
from producer.api.core.service import Service
from producer.api.keys.keys import Scope
from producer.dashboard.app import Dashboard, Visitor
from producer.runs import control
from schema.database import Database

_ACTS: dict[str, Callable[[Database, int], object]] = {
    "pause": control.pause,
    "resume": control.resume,
    "cancel": control.cancel,
}


def dashboard(at: Service) -> Dashboard:
    """The pages over a service."""

    def enter(request: Request, key: str | None) -> Visitor:
        caller = admit(at, request, Scope.READ, key)
        may_act = caller.scope.allows(Scope.SUBMIT)

        def check(run: int) -> None:
            check_seen(at, caller, run)

        def change(database: Database, run: int, act: str) -> None:
            check_own(at, caller, run)
            _ACTS[act](database, run)
            at.doorbell.ring()

        name = None if caller.key_id is None else caller.name
        return Visitor(name, may_act, caller.only, check, change)

    return Dashboard(at.database, enter)
