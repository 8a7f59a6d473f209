"""Windows, time zones, deadlines, budgets and priorities over HTTP; refusals with a hint."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import httpx
import numpy as np
import pytest
from sqlalchemy import func, select

from producer.client import Client, RequestRejected
from producer.networks.chosen import ChosenNetwork
from schema.database import Database
from schema.tables import Run
from tests.integration.api.conftest import npz, refused, send
from tests.integration.conftest import some_images

NEPAL = ZoneInfo("Asia/Kathmandu")  # 5:45 ahead, and its clocks are never changed


def window(hours: int) -> tuple[str, datetime]:
    """Return a daily window of one hour that opens in ``hours``, by a clock in Nepal, and its opening."""
    opens = (datetime.now(NEPAL) + timedelta(hours=hours)).replace(minute=0, second=0, microsecond=0)
    closes = opens + timedelta(hours=1)
    return f"{opens:%H:%M}-{closes:%H:%M}", opens


def shown(http: httpx.Client, answer: httpx.Response) -> dict[str, Any]:
    assert answer.status_code == 202, answer.text
    found: dict[str, Any] = http.get(answer.json()["links"]["self"]).json()
    return found


def numbers(**options: object) -> dict[str, object]:
    """A JSON body."""
    return {"images": some_images(3).images.tolist(), **options}


def test_a_run_waits_for_its_window_and_says_so(http: httpx.Client, network: ChosenNetwork) -> None:
    text, opens = window(3)
    run = shown(
        http,
        send(http, window=text, tz="Asia/Kathmandu", deadline="2099-01-01T06:00", priority=7, budget_s=3),
    )
    assert (run["state"], run["paused_by"], run["priority"], run["budget_us"]) == (
        "paused",
        "window",
        7,
        3_000_000,
    )
    assert run["window"] == {"spans": [text], "zone": "Asia/Kathmandu"}
    assert datetime.fromisoformat(run["window_opens_at"]) == opens
    assert datetime.fromisoformat(run["deadline_at"]) == datetime(2099, 1, 1, 0, 15, tzinfo=UTC)
    page = http.get(f"/runs/{run['run_id']}").text
    assert "its window" in page


def test_a_run_in_its_window_says_when_that_closes(http: httpx.Client, network: ChosenNetwork) -> None:
    text, opens = window(0)
    run = shown(http, http.post("/v1/runs", json=numbers(window=text, tz="Asia/Kathmandu")))
    if datetime.now(NEPAL) >= opens + timedelta(hours=1):
        pytest.skip("the hour ended under the test")
    assert (run["state"], run["window_opens_at"]) == ("queued", None)
    assert datetime.fromisoformat(run["window_closes_at"]) == opens + timedelta(hours=1)


def test_several_windows_in_json_and_in_a_form(
    http: httpx.Client, address: str, network: ChosenNetwork
) -> None:
    both = ["mon-fri 22:00-06:00", "sat,sun 00:00-24:00"]
    files = {"images": ("some.npz", npz(3))}
    answers = [
        http.post("/v1/runs", json=numbers(window=both)),
        http.post("/v1/runs", files=files, data={"window": both}),
    ]
    for answer in answers:
        assert shown(http, answer)["window"] == {"spans": both, "zone": "UTC"}


# Clocks in London go forward at 01:00 UTC on 29 March 2099, and back at 01:00 UTC on 25 October 2099.
DEADLINES = {
    "2099-03-29T01:30": "2099-03-29T01:30+00:00",  # in the hour that is left out
    "2099-03-29T02:30": "2099-03-29T01:30+00:00",
    "2099-10-25T01:30": "2099-10-25T00:30+00:00",  # the first of two
    "2099-10-25T01:30+00:00": "2099-10-25T01:30+00:00",
    "2099-07-01T06:00": "2099-07-01T05:00+00:00",
}


def test_deadlines_when_clocks_are_changed(http: httpx.Client, network: ChosenNetwork) -> None:
    for written, counts_as in DEADLINES.items():
        run = shown(http, http.post("/v1/runs", json=numbers(deadline=written, tz="Europe/London")))
        assert datetime.fromisoformat(run["deadline_at"]) == datetime.fromisoformat(counts_as), written


def test_a_run_is_found_again_after_its_deadline(http: httpx.Client, network: ChosenNetwork) -> None:
    until = datetime.now(UTC) + timedelta(seconds=3)
    body, monday = numbers(deadline=until.isoformat()), {"Idempotency-Key": "monday"}
    run = shown(http, http.post("/v1/runs", json=body, headers=monday))["run_id"]
    time.sleep(max((until - datetime.now(UTC)).total_seconds(), 0.0))
    again = http.post("/v1/runs", json=body, headers=monday)
    assert (again.status_code, again.json()["run_id"]) == (200, run)
    assert "has passed" in refused(
        http.post("/v1/runs", json=body, headers={"Idempotency-Key": "tuesday"}), 422
    )
    assert "has passed" in refused(http.post("/v1/runs", json=body), 422)


UNUSABLE: list[tuple[dict[str, Any], str]] = [
    ({"window": "22-6"}, "write 22:00-06:00"),
    ({"window": "22:00-25:00"}, "25:00 is not a time of day"),
    ({"window": "22:00-22:00"}, "a whole day is 00:00-24:00"),
    ({"window": "someday 22:00-06:00"}, "is not a day: use mon"),
    ({"window": ""}, "window"),
    ({"window": "x" * 150}, "is not understood"),
    ({"window": "22:00-06:00", "tz": "Europe/Lundon"}, "examples: Europe/London"),
    ({"window": "22:00-06:00", "tz": "../../etc/passwd"}, "is not known"),
    ({"tz": "Europe/London"}, "neither is given"),
    ({"deadline": "tomorrow"}, "write 2026-12-01T06:00"),
    ({"deadline": "2020-01-01T06:00"}, "has passed"),
    ({"deadline": "9999-12-31T23:59", "tz": "America/New_York"}, "out of range"),
    ({"priority": 1_001}, "priority"),
    ({"budget_s": 0}, "budget_s"),
]


def test_what_cannot_be_used_is_refused_with_a_hint(
    http: httpx.Client, database: Database, network: ChosenNetwork
) -> None:
    for options, says in UNUSABLE:
        assert says in refused(http.post("/v1/runs", json=numbers(**options)), 422)
        assert says in refused(send(http, **options), 422)
    for value in ([], ["22:00-06:00"] * 51, [3], 22, {"from": "22:00"}):
        said = refused(http.post("/v1/runs", json=numbers(window=value)), 422)
        assert "window: " in said
        assert "[" not in said
    with database.reading() as session:
        assert session.execute(select(func.count()).select_from(Run)).scalar_one() == 0


def test_a_closed_window_is_opened_by_hand(http: httpx.Client, network: ChosenNetwork) -> None:
    text, _ = window(3)
    run = send(http, window=text, tz="Asia/Kathmandu").json()["run_id"]
    refusal = http.post(f"/v1/runs/{run}/resume")
    assert "resumes automatically" in refused(refusal, 409)
    assert '{"now": true}' in refusal.json()["hint"]
    assert http.post(f"/v1/runs/{run}/resume", json={"now": True}).status_code == 200
    found = http.get(f"/v1/runs/{run}").json()
    assert (found["state"], found["window_opens_at"]) == ("queued", None)
    assert found["opened_until"] is not None


def test_the_client_takes_them(address: str, network: ChosenNetwork) -> None:
    text, _ = window(3)
    images = some_images(3).images
    until = datetime(2099, 1, 1, tzinfo=UTC)
    with Client(address) as client:
        run = client.submit(
            np.asarray(images), window=[text, "04:00-04:01"], tz="Asia/Kathmandu", deadline=until, priority=2
        )
        found = client.run(run)
        assert found["window"] == {"spans": [text, "04:00-04:01"], "zone": "Asia/Kathmandu"}
        assert (datetime.fromisoformat(found["deadline_at"]), found["priority"]) == (until, 2)
        assert client.resume(run, now=True)["batches_left"] == 1
        assert client.pause(run)["state"] == "paused"
        one = client.submit(np.asarray(images), window="00:00-24:00")
        assert client.run(one)["window"] == {"spans": ["00:00-24:00"], "zone": "UTC"}
        with pytest.raises(RequestRejected, match="examples: Europe/London"):
            client.submit(np.asarray(images), window=text, tz="Mars")


def test_they_are_documented(http: httpx.Client) -> None:
    schemas = http.get("/openapi.json").json()["components"]["schemas"]
    for name in ("Request", "Form"):
        assert {"window", "tz", "deadline", "budget_s", "priority"} <= schemas[name]["properties"].keys()
        assert "22:00-06:00" in schemas[name]["properties"]["window"]["description"]
