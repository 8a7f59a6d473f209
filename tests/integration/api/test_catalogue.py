"""Networks and schedules over HTTP."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from producer.api.keys import keys
from producer.api.keys.keys import Scope
from producer.context import AppContext
from producer.networks.chosen import ChosenNetwork
from producer.planning import schedule_runner
from schema.database import Database
from schema.settings import load
from tests.integration.api.conftest import npz, refused
from tests.integration.conftest import Cli
from tests.serving import client


def test_a_network_says_which_images_it_takes(http: httpx.Client, network: ChosenNetwork) -> None:
    shown = http.get("/v1/networks/digits@1").json()
    assert shown == http.get("/v1/networks").json()["networks"][0]
    assert shown["takes"] == {"height": 8, "width": 8, "dtype": "uint8", "minimum": 0, "maximum": 16}
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
