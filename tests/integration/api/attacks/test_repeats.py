"""A key that comes again with another request: no second run, and no answer that hides the difference."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from sqlalchemy import func, select

from producer.api.keys import keys
from producer.api.keys.keys import Scope
from schema.tables import Run
from tests.integration.api.attacks.conftest import Attacked
from tests.integration.conftest import some_images
from tests.serving import client

PIXELS = some_images(3).images.tolist()
SECRET = "whsec_" + "A" * 32
HOOK = {"url": "https://a.example.com/hook", "secret": SECRET}
FIRST = {
    "images": PIXELS,
    "network": "digits",
    "reads": 5,
    "name": "tonight",
    "solver": "emulator",
    "budget_s": 4.0,
    "window": ["22:00-06:00"],
    "tz": "Europe/London",
    "deadline": "2099-01-01T06:00",
    "priority": 1,
    "webhook": HOOK,
}
OTHERS: list[tuple[dict[str, Any], set[str]]] = [
    ({"budget_s": 5.0}, {"budget_s"}),
    ({"budget_s": None}, {"budget_s"}),
    ({"deadline": "2099-01-02T06:00"}, {"deadline"}),
    ({"window": "22:00-05:00"}, {"window"}),
    ({"tz": "UTC"}, {"tz"}),
    ({"webhook": None}, {"webhook"}),
    ({"webhook": {**HOOK, "url": "https://b.example.com"}}, {"webhook"}),
    ({"webhook": {**HOOK, "secret": "whsec_" + "B" * 32}}, {"webhook"}),
    ({"priority": 0}, {"priority"}),
    ({"name": "today"}, {"name"}),
    ({"tags": ["nightly"]}, {"tags"}),
    ({"webhook": {**HOOK, "events": ["ended"]}}, {"webhook"}),
    ({"batch_size": 2}, {"batch_size"}),
    ({"reads": 6}, {"reads"}),
    ({"solver": "local", "budget_s": None}, {"solver", "budget_s", "visible"}),
    ({"images": some_images(3, seed=1).images.tolist()}, {"images"}),
    ({"reads": 6, "name": "today"}, {"reads", "name"}),
]


def submit(http: httpx.Client, changes: dict[str, Any] | None = None) -> httpx.Response:
    body = {name: value for name, value in (FIRST | (changes or {})).items() if value is not None}
    return http.post("/v1/runs", json=body, headers={"Idempotency-Key": "tonight"})


def count_runs(attacked: Attacked) -> int:
    with attacked.database.reading() as session:
        return session.execute(select(func.count()).select_from(Run)).scalar_one()


def test_another_request_with_the_same_key_is_refused_with_the_fields_that_differ(attacked: Attacked) -> None:
    with client(attacked.address, keys.add(attacked.database, "repeats", Scope.SUBMIT).key) as http:
        run = submit(http).json()["run_id"]
        runs = count_runs(attacked)
        for changes, fields in OTHERS:
            answer = submit(http, changes)
            assert answer.status_code == 409, (changes, answer.text)
            problem = answer.json()
            assert problem["code"] == "idempotency_conflict"
            assert {error["field"] for error in problem["errors"]} == fields, changes
            assert all(field in problem["detail"] for field in fields)
            assert f"key 'tonight' belongs to run {run}" in problem["detail"]
            assert SECRET not in answer.text
        again = submit(http)
        assert (again.status_code, again.json()["run_id"]) == (200, run)
    assert count_runs(attacked) == runs


@pytest.mark.parametrize("later", ["pause", "cancel"])
def test_what_happened_to_the_run_makes_no_other_request(attacked: Attacked, later: str) -> None:
    with client(attacked.address, keys.add(attacked.database, later, Scope.SUBMIT).key) as http:
        run = submit(http).json()["run_id"]
        http.post(f"/v1/runs/{run}/{later}")
        assert submit(http).json()["run_id"] == run
