"""Runs are changed, deleted and scored again over HTTP; control is the same twice."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from sqlalchemy import insert, select

from producer.api.keys import keys
from producer.api.keys.keys import Scope
from producer.networks.chosen import ChosenNetwork
from schema.database import Database
from schema.messages import Message, Task
from schema.tables import Event, Network, Spending
from tests.integration.api.conftest import npz, refused, send
from tests.integration.conftest import START, network_row, work_off
from tests.serving import client
from worker.context import Context


def test_control_is_the_same_twice(http: httpx.Client, database: Database, network: ChosenNetwork) -> None:
    path = f"/v1/runs/{send(http).json()['run_id']}"
    assert [http.post(f"{path}/resume").json()["batches_left"] for _ in range(2)] == [1, 1]
    assert [http.post(f"{path}/pause").json()["state"] for _ in range(2)] == ["paused"] * 2
    assert [http.post(f"{path}/resume").status_code for _ in range(2)] == [200] * 2
    first, second = http.post(f"{path}/cancel"), http.post(f"{path}/cancel")
    assert first.json() == second.json()
    # What the state does not allow is still refused.
    refused(http.post(f"{path}/pause"), 409)
    refused(http.post(f"{path}/resume"), 409)
    with database.reading() as session:
        moves = list(session.execute(select(Event.target).where(Event.subject == "runs")).scalars())
    assert moves == ["queued", "paused", "queued", "cancelled"]


def test_a_run_is_changed_and_says_so(http: httpx.Client, database: Database, network: ChosenNetwork) -> None:
    path = f"/v1/runs/{send(http, tags='a').json()['run_id']}"
    changed = http.patch(
        path,
        json={
            "name": "Monday",
            "priority": 7,
            "tags": ["b", "c"],
            "budget_s": 2.5,
            "deadline": "2100-01-01T00:00",
        },
    )
    assert changed.status_code == 200, changed.text
    shown = http.get(path).json()
    assert shown == changed.json()
    assert (shown["name"], shown["priority"], shown["tags"]) == ("Monday", 7, ["b", "c"])
    assert (shown["budget_us"], shown["deadline_at"]) == (2_500_000, "2100-01-01T00:00:00+00:00")
    shown = http.patch(path, json={"budget_s": None, "deadline": None, "tags": []}).json()
    assert (shown["budget_us"], shown["deadline_at"], shown["tags"]) == (None, None, [])
    assert (shown["name"], shown["priority"]) == ("Monday", 7)
    with database.reading() as session:
        reasons = list(session.execute(select(Event.why).where(Event.why.like("changed%"))).scalars())
    assert reasons == [
        "changed budget_us, deadline, name, priority, tags",
        "changed budget_us, deadline, tags",
    ]


def test_a_run_that_waits_for_its_window_continues_when_the_window_is_removed(
    http: httpx.Client, network: ChosenNetwork
) -> None:
    day = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
    from datetime import UTC, datetime

    other = day[(datetime.now(UTC).weekday() + 3) % 7]
    path = f"/v1/runs/{send(http, window=f'{other} 10:00-11:00').json()['run_id']}"
    assert http.get(path).json()["paused_by"] == "window"
    moved = http.patch(path, json={"window": f"{other} 12:00-13:00", "tz": "Europe/London"}).json()
    assert (moved["state"], moved["window"]["zone"]) == ("paused", "Europe/London")
    assert http.patch(path, json={"window": None}).json()["state"] == "queued"


@pytest.fixture(scope="module")
def tagged(shared_database_url: str, shared_http: httpx.Client) -> str:
    """Return the path of a run with a tag, for the tests that do not change it."""
    database = Database(shared_database_url)
    with database.transaction() as session:
        session.execute(insert(Network).values(network_row()))
    database.dispose()
    return f"/v1/runs/{send(shared_http, tags='a').json()['run_id']}"


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"priority": 1001}, 422),
        ({"colour": "red"}, 422),
        ({"name": ""}, 422),
        ({"tags": ["two words"]}, 422),
        ({"tags": [str(k) for k in range(21)]}, 422),
        ({"deadline": "2001-01-01T00:00"}, 422),
        ({"window": "sometimes"}, 422),
        ({"window": "22:00-06:00", "tz": "Atlantis/Capital"}, 422),
        ({"budget_s": 0}, 422),
    ],
)
def test_a_change_that_cannot_be_made_changes_nothing(
    shared_http: httpx.Client, tagged: str, body: dict[str, Any], status: int
) -> None:
    before = shared_http.get(tagged).json()
    refused(shared_http.patch(tagged, json={"name": "new", **body}), status)
    assert shared_http.get(tagged).json() == before


def test_only_administrators_change_budgets(address: str, database: Database, network: ChosenNetwork) -> None:
    keys.add(database, "admin", Scope.ADMIN)
    with client(address, keys.add(database, "submit", Scope.SUBMIT).key) as http:
        path = f"/v1/runs/{send(http).json()['run_id']}"
        refused(http.patch(path, json={"budget_s": 9}), 403)
        assert http.patch(path, json={"priority": 1}).json()["priority"] == 1
        refused(http.delete(path, params={"with_charges": True}), 403)


def test_a_finished_run_is_renamed_scored_again_and_deleted(
    http: httpx.Client, context: Context, working: ChosenNetwork
) -> None:
    run = send(http, npz(6), reads=9).json()["run_id"]
    path = f"/v1/runs/{run}"
    refused(http.post(f"{path}/rescore", json={"rule": "boltzmann"}), 409)
    refused(http.delete(path), 409)
    work_off(context, Message(Task.DISPATCH))
    assert http.patch(path, json={"name": "done", "tags": ["kept"]}).json()["name"] == "done"
    assert "priority" in refused(http.patch(path, json={"priority": 1}), 409)
    refused(http.post(f"{path}/rescore", json={"rule": "vote"}), 422)
    refused(http.post(f"{path}/rescore", json={"reads": 10}), 409)
    again = http.post(f"{path}/rescore", json={"reads": 4, "rule": "boltzmann"})
    assert again.status_code == 202, again.text
    shown = http.get(again.headers["Location"]).json()
    assert (shown["rescored_from"], shown["parameters"]["reads"], shown["state"]) == (run, 4, "running")
    assert f"run {shown['run_id']}" in refused(http.delete(path), 409)
    http.post(f"/v1/runs/{shown['run_id']}/cancel")
    assert http.delete(f"/v1/runs/{shown['run_id']}").status_code == 204
    with context.database.transaction() as session:
        session.execute(insert(Spending).values(run_id=run, day=START.date(), spent_us=5))
    assert "charged" in refused(http.delete(path), 409)
    assert http.delete(path, params={"with_charges": "true"}).status_code == 204
    refused(http.get(path), 404)


def test_the_caller_owns_the_run_that_scores_again(
    address: str, database: Database, context: Context, working: ChosenNetwork
) -> None:
    with client(address, keys.add(database, "submit", Scope.SUBMIT).key) as http:
        run = send(http, npz(3), reads=5).json()["run_id"]
        work_off(context, Message(Task.DISPATCH))
        again = http.post(f"/v1/runs/{run}/rescore", json={"reads": 2})
        assert http.get(again.headers["Location"]).status_code == 200
    with client(address, keys.add(database, "other", Scope.SUBMIT).key) as http:
        refused(http.post(f"/v1/runs/{run}/rescore", json={}), 404)


def test_pixels_are_scaled_on_request(http: httpx.Client, network: ChosenNetwork) -> None:
    bright = [[[255, 128, 0, 17, 0, 0, 0, 0]] + [[0] * 8] * 7]
    message = refused(http.post("/v1/runs", json={"images": bright, "network": "digits"}), 422)
    assert "scale_pixels" in message
    made = http.post("/v1/runs", json={"images": bright, "network": "digits", "scale_pixels": True}).json()
    scaled = [[[16, 8, 0, 1, 0, 0, 0, 0]] + [[0] * 8] * 7]
    key = {"Idempotency-Key": "same"}
    first = http.post("/v1/runs", json={"images": scaled, "network": "digits"}, headers=key).json()
    again = {"images": bright, "network": "digits", "scale_pixels": True}
    assert (
        http.post("/v1/runs", json=again, headers=key).json()["run_id"] == first["run_id"] != made["run_id"]
    )
