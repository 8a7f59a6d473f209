"""Networks, schedules and the plan over HTTP."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest

from producer.api.keys import keys
from producer.api.keys.keys import Scope
from producer.context import AppContext
from producer.networks.chosen import ChosenNetwork
from producer.planning import schedule_runner
from schema.database import Database
from schema.settings import load
from tests.integration.api.conftest import npz, refused, send
from tests.integration.conftest import Cli
from tests.serving import client


def test_a_network_says_which_images_it_takes(http: httpx.Client, network: ChosenNetwork) -> None:
    shown = http.get("/v1/networks/digits@1").json()
    assert shown == http.get("/v1/networks").json()["networks"][0]
    assert shown["takes"] == {
        "kind": "image",
        "shape": [8, 8],
        "dtype": "uint8",
        "height": 8,
        "width": 8,
        "channels": 1,
        "minimum": 0,
        "maximum": 16,
        "resize": None,
    }
    assert "digits@2" in refused(http.get("/v1/networks/digits@2"), 404)
    refused(http.get("/v1/networks/digits@x"), 422)


@pytest.fixture
def nightly(cli: Cli, tmp_path: Path, network: ChosenNetwork) -> str:
    """Add a schedule by the command line, and return its path."""
    data = tmp_path / "some.npz"
    data.write_bytes(npz(4))
    cli("schedules", "add", "nightly", "--cron", "0 22 * * *", "--", "classify", data, "--reads", "5")
    return "/v1/schedules/nightly"


def test_a_schedule_is_shown_paused_run_and_removed(
    http: httpx.Client, database: Database, nightly: str
) -> None:
    assert [found["name"] for found in http.get("/v1/schedules").json()["schedules"]] == ["nightly"]
    for _ in range(2):  # again is no error
        assert http.post(f"{nightly}/pause").json()["state"] == "paused"
    for _ in range(2):
        assert http.post(f"{nightly}/resume").json()["state"] == "active"
    fired = http.post(f"{nightly}/run")
    assert fired.status_code == 202
    assert (fired.json()["state"], fired.json()["run_id"]) == ("due", None)
    schedule_runner.enqueue_firing(AppContext(load(), database), fired.json()["firing_id"])
    [firing] = http.get(nightly).json()["firings"]
    assert firing["firing_id"] == fired.json()["firing_id"]
    assert http.get(f"/v1/runs/{firing['run_id']}").json()["images"] == 4
    assert http.delete(nightly).status_code == 204
    refused(http.get(nightly), 404)


def test_only_administrators_see_and_change_schedules(address: str, database: Database, nightly: str) -> None:
    key = keys.add(database, "submitter", Scope.SUBMIT, all_runs=True).key
    with client(address, key) as http:
        refused(http.get("/v1/schedules"), 403)
        refused(http.delete(nightly), 403)


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a file below the folder that the API may read."""
    (tmp_path / "open").mkdir()
    monkeypatch.setenv("ANNEALQ_API_FOLDERS", str(tmp_path / "open"))
    path = tmp_path / "open" / "some.npz"
    path.write_bytes(npz(4))
    return path


def test_a_schedule_is_added_with_the_fields_of_a_run(
    data: Path, http: httpx.Client, database: Database, network: ChosenNetwork
) -> None:
    run = {"uri": f"{data}:images", "name": "night", "network": "digits", "reads": 5, "window": "22:00-06:00"}
    run |= {"limit": 3, "tags": ["kept"], "budget_s": 2}
    body = {"name": "nightly", "cron": "0 22 * * mon-fri", "tz": "Europe/London", "run": run}
    added = http.post("/v1/schedules", json=body)
    assert added.status_code == 201, added.text
    assert added.headers["Location"] == "/v1/schedules/nightly"
    assert added.json() == http.get("/v1/schedules/nightly").json()
    request = added.json()["request"]
    assert (request["data"], request["network"], request["zone"]) == (
        f"{data}:images",
        "digits@1",
        "Europe/London",
    )
    fired = http.post("/v1/schedules/nightly/run").json()
    schedule_runner.enqueue_firing(AppContext(load(), database), fired["firing_id"])
    [firing] = http.get("/v1/schedules/nightly").json()["firings"]
    started = http.get(f"/v1/runs/{firing['run_id']}").json()
    assert (started["name"], started["images"], started["tags"]) == ("night", 3, ["kept"])
    assert started["parameters"]["reads"] == 5
    assert "choose another name" in refused(http.post("/v1/schedules", json=body), 422)


@pytest.mark.parametrize(
    ("wrong", "run", "status", "named"),
    [
        ({"cron": "0 25 * * *"}, {}, 422, "25"),
        ({"tz": "Mars/Olympus"}, {}, 422, "Mars/Olympus"),
        ({"name": "two words"}, {}, 422, "two words"),
        ({"colour": "red"}, {}, 422, "colour"),
        ({}, {"reads": 0}, 422, "reads"),
        ({}, {"webhook": {"url": "https://example.com/"}}, 422, "webhook"),
        ({}, {"deadline": "2030-12-01T06:00"}, 422, "a schedule repeats"),
        ({}, {"network": "nothing"}, 422, "nothing"),
        ({}, {"part": "absent"}, 422, "absent"),
        ({}, {"part": "linked"}, 422, "rename one of them"),
        ({}, {"uri": "/etc/passwd"}, 403, "/etc/passwd"),
        ({}, {"uri": "digits"}, 403, "digits"),
    ],
)
def test_a_schedule_that_cannot_be_added(
    data: Path,
    http: httpx.Client,
    network: ChosenNetwork,
    wrong: dict[str, str],
    run: dict[str, object],
    status: int,
    named: str,
) -> None:
    Path(f"{data}:linked").symlink_to("/etc/passwd")
    asked = {"uri": str(data), "network": "digits", **run}
    body = {"name": "nightly", "cron": "0 22 * * *", "run": asked, **wrong}
    assert named in refused(http.post("/v1/schedules", json=body), status)
    assert http.get("/v1/schedules").json() == {"schedules": []}


def test_the_plan_has_the_runs_that_the_caller_sees(
    address: str, http: httpx.Client, database: Database, network: ChosenNetwork
) -> None:
    runs: dict[str, Any] = {}
    for name in ("one", "other"):
        with client(address, keys.add(database, name, Scope.SUBMIT).key) as own:
            runs[name] = send(own, network="digits", reads=5).json()["run_id"]
            planned = own.get("/v1/plan").json()
            assert [run["run_id"] for run in planned["runs"]] == [runs[name]]
    plan = http.get("/v1/plan?price_per_minute=2.5&currency=EUR").json()
    assert {run["run_id"] for run in plan["runs"]} == set(runs.values())
    assert all(run["images"] + run["left_images"] == 30 for run in plan["runs"])
    assert (plan["cost"], plan["currency"]) == (0, "EUR")


@pytest.mark.parametrize("query", ["price_per_minute=-1", "price_per_minute=nan", "currency=EUR"])
def test_a_price_that_cannot_be_used(http: httpx.Client, query: str) -> None:
    refused(http.get(f"/v1/plan?{query}"), 422)
