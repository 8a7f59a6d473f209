"""Every route with every kind of caller: scopes, and whose runs and messages they see and change.

The routes are those of the application, so that a new one without a rule fails here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from enum import Enum, auto

import httpx
import pytest
from sqlalchemy import insert

from producer.api.keys import keys
from producer.api.keys.keys import Scope
from producer.webhooks import deliveries
from schema.messages import Message, Task
from schema.settings.worker import WorkerSettings
from schema.tables import Network
from tests.integration.api.attacks.conftest import Attacked
from tests.integration.api.conftest import npz, send
from tests.integration.api.test_run_permissions import ask, routes
from tests.integration.conftest import Outbox, work_off, working_network
from tests.serving import client
from worker.context import Context


class Needs(Enum):
    """What a caller needs for a route."""

    NOTHING = auto()
    READ = auto()
    SUBMIT = auto()
    ADMIN = auto()
    SEES = auto()  # scope read, and to see the run or message in its path
    OWNS = auto()  # scope submit, and to own the run or message in its path, or scope admin


@dataclass(frozen=True)
class Kind:
    """A kind of caller: the scope of its key, and what it sees and owns of the run and the message."""

    scope: Scope | None
    sees: bool
    owns: bool = False


CALLERS = {
    "nobody": Kind(None, sees=False),
    "reader": Kind(Scope.READ, sees=False),
    "sees": Kind(Scope.READ, sees=True),
    "watcher": Kind(Scope.READ, sees=True),
    "other": Kind(Scope.SUBMIT, sees=False),
    "overseer": Kind(Scope.SUBMIT, sees=True),
    "owner": Kind(Scope.SUBMIT, sees=True, owns=True),
    "admin": Kind(Scope.ADMIN, sees=True, owns=True),
}
RULES = {
    **dict.fromkeys(
        (
            *("GET /healthz", "GET /readyz", "GET /docs", "GET /docs/{file}", "GET /openapi.json"),
            *("GET /problems", "GET /problems/{code}", "GET /static/{digest:str}/{name:str}"),
            *("POST /login", "POST /logout"),
        ),
        Needs.NOTHING,
    ),
    **dict.fromkeys(
        (
            *("GET /metrics", "GET /v1/me", "GET /v1/runs", "GET /v1/deliveries"),
            *("GET /v1/dry-runs/{dry_run}", "GET /v1/plan"),
            *("GET /v1/networks", "GET /v1/networks/{name}"),
            *("GET /v1/calibrations", "GET /v1/calibrations/{calibration}"),
            *("GET /v1/embeddings", "GET /v1/embeddings/{embedding}"),
            *("GET /", "GET /runs/parts", "GET /solvers", "GET /embeddings/{embedding:int}.png"),
            *("GET /compare", "GET /submit", "GET /networks", "GET /workers", "GET /workers/parts"),
            *("GET /deliveries", "GET /keys", "GET /chips/{chip:int}", "GET /chips/{chip:int}/heat-map.png"),
        ),
        Needs.READ,
    ),
    **dict.fromkeys(
        (
            "POST /v1/runs",
            "POST /v1/calibrations",
            "POST /v1/dry-runs",
            "POST /v1/webhooks/test",
            "POST /runs",
            "POST /submit",
            "POST /deliveries/test",
        ),
        Needs.SUBMIT,
    ),
    **dict.fromkeys(
        (
            *("GET /v1/keys", "POST /v1/keys", "DELETE /v1/keys/{name}"),
            *("GET /v1/schedules", "POST /v1/schedules", "POST /v1/networks"),
            *("GET /v1/schedules/{name}", "DELETE /v1/schedules/{name}"),
            *(f"POST /v1/schedules/{{name}}/{action}" for action in ("pause", "resume", "run")),
            *(
                "POST /keys",
                "GET /keys/{name:str}",
                "POST /keys/{name:str}",
                "GET /keys/{name:str}/{act:str}",
                "POST /keys/{name:str}/{act:str}",
            ),
            *("GET /schedules", "POST /schedules/{name:str}/{act:str}", "POST /networks"),
        ),
        Needs.ADMIN,
    ),
    **dict.fromkeys(
        (
            *("GET /v1/runs/{run}", "GET /v1/deliveries/{delivery}", "GET /v1/events"),
            *("GET /v1/runs/{run}/images/{image}", "GET /v1/runs/{run}/images/{image}/reads"),
            *(
                f"GET /v1/runs/{{run}}/{part}"
                for part in ("results", "events", "deliveries", "bundle", "dataset", "sample-set")
            ),
            *("GET /runs/{run:int}", "GET /runs/{run:int}/{act:str}", "GET /runs/{run:int}/change"),
            *(f"GET /runs/{{run:int}}/{part}" for part in ("parts", "report.html", "history", "images")),
            "GET /runs/{run:int}/bundle.zip",
            *("GET /runs/{run:int}/results.{suffix:str}", "GET /runs/{run:int}/images/{image:int}"),
            *("GET /runs/{run:int}/images/{image:int}/energies.svg", "GET /deliveries/{delivery:int}"),
        ),
        Needs.SEES,
    ),
    **dict.fromkeys(
        (
            *("PATCH /v1/runs/{run}", "DELETE /v1/runs/{run}", "POST /runs/{run:int}/{act:str}"),
            *(f"POST /v1/runs/{{run}}/{action}" for action in ("cancel", "pause", "resume", "rescore")),
            "POST /runs/{run:int}/change",
            *("POST /v1/deliveries/{delivery}/redeliver", "POST /deliveries/{delivery:int}/redeliver"),
        ),
        Needs.OWNS,
    ),
}
# Allowed callers of these learn that there is no such thing, of which they may know.
NAMES_NOTHING = re.compile(r"\{(name|dry_run|calibration|code|file|digest|embedding|chip|suffix)[:}]")
# A program is started: tests of the pages send it for callers who see the run.
COSTLY = (
    "GET /runs/{run:int}/report.html",
    "GET /runs/{run:int}/bundle.zip",
    "GET /v1/runs/{run}/bundle",
)
UNKNOWN, FORBIDDEN, MISSING = 401, 403, 404


def refusal(route: str, needs: Needs, kind: Kind) -> int | None:
    """Return the status with which a caller of this kind is refused, or None if it is not."""
    if needs is Needs.NOTHING:
        return None
    if kind.scope is None:
        return UNKNOWN
    least = {Needs.SUBMIT: Scope.SUBMIT, Needs.ADMIN: Scope.ADMIN, Needs.OWNS: Scope.SUBMIT}.get(needs)
    lacks = least is not None and not kind.scope.allows(least)
    # Pages look for the run first: a visitor without the scope may still not learn of it.
    is_page_of_run = route.split(" ")[1].startswith("/runs/{")
    if lacks and not (is_page_of_run and not kind.sees):
        return FORBIDDEN
    if needs in (Needs.SEES, Needs.OWNS) and not kind.sees:
        return MISSING
    return FORBIDDEN if needs is Needs.OWNS and not kind.owns else None


@pytest.fixture(scope="module")
def callers(attacked: Attacked) -> Iterator[dict[str, httpx.Client]]:
    """Yield a client for each kind of caller."""
    database = attacked.database
    with database.transaction() as session:
        session.execute(insert(Network).values(working_network()))
    made = {"owner": keys.add(database, "owner", Scope.SUBMIT, webhook_url="https://example.com/").key}
    for name, sees in (("reader", ()), ("sees", ("owner",))):
        made[name] = keys.add(database, name, Scope.READ, sees=sees).key
    made["other"] = keys.add(database, "other", Scope.SUBMIT).key
    made["watcher"] = keys.add(database, "watcher", Scope.READ, all_runs=True).key
    made["overseer"] = keys.add(database, "overseer", Scope.SUBMIT, all_runs=True).key
    made["admin"] = attacked.key
    with ExitStack() as stack:
        yield {name: stack.enter_context(client(attacked.address, made.get(name))) for name in CALLERS}


@pytest.fixture(scope="module")
def finished(attacked: Attacked, callers: dict[str, httpx.Client]) -> int:
    """Return a finished run of the owner."""
    run: int = send(callers["owner"], npz(12), reads=5).json()["run_id"]
    work_off(Context(attacked.database, WorkerSettings(max_attempts=1), Outbox()), Message(Task.DISPATCH))
    return run


def test_each_route_has_a_rule_and_each_rule_a_route() -> None:
    assert {f"{method} {path}" for method, path in routes()} == set(RULES)


@pytest.mark.parametrize("needs", Needs)
def test_each_caller_may_do_what_its_key_permits_and_nothing_else(
    attacked: Attacked, callers: dict[str, httpx.Client], finished: int, needs: Needs
) -> None:
    message = deliveries.send_test(attacked.database, "owner", "https://example.com/")
    for route in (route for route, needed in RULES.items() if needed is needs):
        method, path = route.split(" ")
        # Another run for each route that may change it.
        run = finished if method == "GET" else send(callers["owner"], npz(2), reads=5).json()["run_id"]
        filled = re.sub(r"\{run(:int)?\}", str(run), path).replace("{act:str}", "pause")
        filled = re.sub(r"\{delivery(:int)?\}", str(message), filled)
        filled = re.sub(r"\{image(:int)?\}", "0", filled)
        filled = filled.replace("/v1/events", f"/v1/events?run={run}")
        filled = re.sub(r"\{(embedding|chip|dry_run|calibration)(:int)?\}", "999", filled)
        filled = re.sub(r"\{\w+(:str)?\}", "nothing", filled)
        for name, kind in CALLERS.items():
            expected = refusal(route, needs, kind)
            if expected is None and route in COSTLY:
                continue
            if route == "POST /runs":
                answer = callers[name].post(filled, data={"act": "pause"})
            else:
                answer = ask(callers[name], method, filled)
            status = answer.status_code
            where = (route, name, status, answer.text[:500])
            if expected is not None:
                assert status == expected, where
            elif NAMES_NOTHING.search(path):
                assert status in (200, 404), where
            elif route == "POST /login":  # without a key in the form
                assert status == UNKNOWN, where
            else:
                assert status not in (UNKNOWN, FORBIDDEN, MISSING), where
                assert status < 500 or route == "GET /readyz", where  # there is no broker
