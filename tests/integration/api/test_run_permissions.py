"""The runs that a key sees, checked for every route of a run: its own, or all."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import httpx
import pytest
from fastapi.routing import APIRoute
from starlette.routing import Route

from producer.api import app
from producer.api.core.service import Service
from producer.api.keys import keys
from producer.api.keys.keys import Scope
from producer.api.routes import pages
from producer.api.routes.submissions.submissions import enqueue_parts
from producer.networks.chosen import ChosenNetwork
from producer.runs.enqueue import enqueue_run
from schema.database import Database
from schema.messages import Message, Task
from schema.parameters import Parameters, Solver
from schema.settings import load, load_api
from tests.integration.api.conftest import npz, refused, send
from tests.integration.conftest import some_images, work_off
from tests.serving import client
from worker.context import Context

CHANGES = ("pause", "resume", "cancel")
Opened = Callable[[str], httpx.Client]


def routes() -> list[tuple[str, str]]:
    """Return method and path of every route of the API and of the pages."""
    service = Service.build(load(database_url="sqlite://"), load_api())
    try:
        api, shown = app.build(service), pages.dashboard(service, enqueue_parts).app()
    finally:
        service.database.dispose()
    included = [route for router in app.ROUTERS for route in router.routes]
    found = [
        route for route in (*api.routes, *included, *shown.routes) if isinstance(route, APIRoute | Route)
    ]
    # Nothing was included past that list.
    assert len(found) == len(included) + len(shown.routes) + len(api.routes) - len(app.ROUTERS)
    return sorted((m, route.path) for route in found for m in (route.methods or {"GET"}) - {"HEAD"})


def of_a_run(run: int) -> list[tuple[str, str]]:
    """Return the routes of a run, with this run in their paths."""
    found = []
    for method, path in routes():
        if "{run" not in path:
            continue
        filled = (
            re.sub(r"\{run(:int)?\}", str(run), path)
            .replace("{image:int}", "0")
            .replace("{image}", "0")
            .replace("{suffix:str}", "csv")
        )
        if filled.endswith("/sample-set"):
            filled += "?image=0"
        if filled.endswith("/dataset"):
            filled += "?format=huggingface"
        acts = CHANGES if "{act:str}" in filled else ("",)
        found += [(method, filled.replace("{act:str}", act)) for act in acts]
    return found


def ask(http: httpx.Client, method: str, path: str) -> httpx.Response:
    """Without reading an answer that does not end."""
    with http.stream(method, path) as answer:
        answer.read()
    return answer


@pytest.fixture
def opened(address: str, database: Database) -> Iterator[Opened]:
    """Return a function that opens a client with the key of a name."""
    kinds: dict[str, Any] = {
        "owner": (Scope.SUBMIT, False),
        "other": (Scope.SUBMIT, False),
        "reader": (Scope.READ, False),
        "watcher": (Scope.READ, True),
        "overseer": (Scope.SUBMIT, True),
        "admin": (Scope.ADMIN, False),
    }
    made = {n: keys.add(database, n, scope, all_runs=every) for n, (scope, every) in kinds.items()}
    with ExitStack() as stack:
        yield lambda name: stack.enter_context(client(address, made[name].key))


@pytest.fixture
def finished(context: Context, working: ChosenNetwork, opened: Opened) -> int:
    """Return a finished run that the owner has sent."""
    run: int = send(opened("owner"), npz(12), reads=5).json()["run_id"]
    work_off(context, Message(Task.DISPATCH))
    return run


def test_another_keys_run_is_as_if_it_were_not_there(opened: Opened, finished: int) -> None:
    for name in ("other", "reader"):
        http = opened(name)
        for (method, path), (_, nowhere) in zip(of_a_run(finished), of_a_run(999), strict=True):
            answer, missing = ask(http, method, path), ask(http, method, nowhere)
            may_not = name == "reader" and path.startswith("/v1/") and method != "GET"
            assert answer.status_code == (403 if may_not else 404), (name, method, path, answer.text)
            assert missing.status_code == answer.status_code
            assert without(finished, answer.text) == without(999, missing.text)


def without(run: int, text: str) -> str:
    """Return the text of an answer without the number of the run."""
    return re.sub(rf"(run |/runs/){run}\b", r"\1N", text)


def test_who_sees_a_run_sees_it_by_every_route(opened: Opened, finished: int) -> None:
    for name in ("owner", "watcher"):
        http = opened(name)
        for method, path in of_a_run(finished):
            if (name, method) == ("owner", "DELETE"):
                continue
            answer = ask(http, method, path)
            if method == "GET":
                # No worker computes histograms and sample sets here.
                expected = 202 if path.endswith(("energies.svg", "?image=0")) else 200
                assert answer.status_code == expected, (name, path, answer.text)
            elif name == "watcher":
                assert answer.status_code == 403, (path, answer.text)
            else:  # callers who may change it learn that it is finished, or that a body is missing
                # An empty form of changes changes nothing.
                codes = (303,) if path.endswith("/change") else (409, 422)
                assert answer.status_code in codes, (path, answer.text)


def test_lists_have_what_the_key_may_see(
    opened: Opened, finished: int, database: Database, working: ChosenNetwork
) -> None:
    # Not sent by HTTP.
    by_hand = enqueue_run(database, some_images(12), working, Solver.LOCAL, Parameters(reads=5)).id
    everything = [by_hand, finished]
    sees = {"owner": [finished], "other": [], "reader": []}
    sees |= dict.fromkeys(("watcher", "overseer", "admin"), everything)
    for name, seen in sees.items():
        http = opened(name)
        assert [run["run_id"] for run in http.get("/v1/runs").json()["runs"]] == seen, name
        done = http.get("/v1/runs?state=done").json()["runs"]
        assert [run["run_id"] for run in done] == [run for run in seen if run == finished]
        page = http.get("/").text
        assert {run for run in everything if f'"/runs/{run}"' in page} == set(seen), name


def test_figures_of_single_runs_are_for_who_sees_all(opened: Opened, network: ChosenNetwork) -> None:
    send(opened("owner"))
    for name, told in (("owner", False), ("reader", False), ("watcher", True), ("admin", True)):
        text = opened(name).get("/metrics").text
        assert 'annealq_runs{state="queued"} 1.0' in text
        assert ("annealq_run_qpu_seconds" in text) == told, name


def test_who_sees_all_runs_and_is_no_admin_changes_its_own_only(
    opened: Opened, network: ChosenNetwork
) -> None:
    overseer = opened("overseer")
    own, others = send(overseer).json()["run_id"], send(opened("owner")).json()["run_id"]
    for act in ("pause", "resume", "cancel"):
        assert "not sent by" in refused(overseer.post(f"/v1/runs/{others}/{act}"), 403)
        assert overseer.post(f"/runs/{others}/{act}").status_code == 403
        refused(overseer.post(f"/v1/runs/999/{act}"), 404)
        assert overseer.post(f"/v1/runs/{own}/{act}").status_code == 200
    assert overseer.get(f"/v1/runs/{others}").json()["state"] == "queued"
