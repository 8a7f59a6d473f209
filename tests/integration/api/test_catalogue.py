"""Networks, schedules and the plan over HTTP."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from producer.api.keys import keys
from producer.api.keys.keys import Scope
from producer.context import AppContext
from producer.networks.chosen import ChosenNetwork
from producer.networks.description import describe
from producer.planning import schedule_runner
from schema.database import Database
from schema.errors import NetworkError
from schema.network import weights
from schema.network.architecture import Architecture
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


def test_a_network_says_what_each_of_its_sources_adds(
    http: httpx.Client, database: Database, cli: Cli, tmp_path: Path
) -> None:
    dense = {"kind": "dense", "units": 4, "activation": "tanh"}
    sources = [
        {"name": name, "columns": columns, "dropout": dropout, "features": [dense]}
        for name, columns, dropout in (("a", [0, 3], 0.2), ("b", [4, 5], 0.0))
    ]
    given = {"name": "two", "input": {"kind": "vector", "values": 6}, "classes": 3, "source": sources}
    layers = Architecture.from_dict(given)
    drawn = {name: np.ones(shape, np.float32) for name, shape in layers.shapes.items()}
    rows = [
        {"name": "a", "visible": 4, "without": 0.5, "alone": None},
        {"name": "b", "visible": 4, "without": None, "alone": 0.5},
    ]
    table = {"images": 40, "held_out": True, "all": 0.75, "rows": rows}
    encoded, metrics = weights.encode(drawn, layers), {"own_accuracy": 0.75, "sources": table}
    described = describe(layers, metrics=metrics, weights_sha256=weights.digest(encoded))
    (tmp_path / "two.json").write_text(json.dumps(described.to_dict()))
    (tmp_path / "two.safetensors").write_bytes(encoded)
    files = ("--architecture", tmp_path / "two.json", "--weights", tmp_path / "two.safetensors")
    printed = json.loads(cli("networks", "import", "two", *files, "--json"))["sources"]
    assert printed == http.get("/v1/networks/two").json()["sources"]
    assert (printed["accuracy"], printed["images"], printed["held_out"]) == (0.75, 40, True)
    assert printed["sources"] == [
        {**row, "decay": 0.0, "dropout": dropout} for row, dropout in zip(rows, (0.2, 0.0), strict=True)
    ]
    page = http.get("/networks").text
    assert "Sources" in page
    assert page.count("two@1") >= 3
    cli("networks", "export", "two", "--output", tmp_path / "out.safetensors")
    exported = json.loads((tmp_path / "out.json").read_text())
    assert exported["metrics"]["sources"] == table

    bad = {**table, "rows": [{**rows[0], "without": 1.5}, rows[1]]}
    exported["metrics"]["sources"] = bad
    (tmp_path / "two.json").write_text(json.dumps(exported))
    with pytest.raises(NetworkError, match=r"rows.*from 0 to 1"):
        cli("networks", "import", "three", *files)


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
