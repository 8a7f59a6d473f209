"""Lists of runs: filtered, ordered, with the fields that are wanted, from page to page."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import insert

from producer.api.keys import keys
from producer.api.keys.keys import Scope
from producer.networks.chosen import ChosenNetwork
from schema.database import Database
from schema.tables import Network
from tests.integration.api.conftest import npz, refused, send
from tests.integration.conftest import Cli, network_row
from tests.serving import client, serving

Listed = tuple[httpx.Client, list[int]]


@pytest.fixture
def runs(http: httpx.Client, network: ChosenNetwork) -> list[int]:
    return five_runs(http)


@pytest.fixture(scope="module")
def listed(shared_database_url: str) -> Iterator[Listed]:
    """A client and the same runs, once for the tests that only read."""
    database = Database(shared_database_url)
    with database.transaction() as session:
        session.execute(insert(Network).values(network_row()))
    database.dispose()
    with serving(shared_database_url) as address, client(address) as http:
        yield http, five_runs(http)


def five_runs(http: httpx.Client) -> list[int]:
    """Five runs of different names, priorities, solvers and tags; the first is cancelled."""
    made = []
    for k in range(5):
        fields: dict[str, Any] = {"name": f"{'ab'[k % 2]} {k}", "priority": k % 3, "network": "digits@1"}
        fields |= {"solver": "emulator" if k == 4 else "local"} | ({"tags": "night"} if k in (1, 3) else {})
        made.append(send(http, npz(3, seed=k), **fields).json()["run_id"])
    http.post(f"/v1/runs/{made[0]}/cancel")
    return made


def numbers(http: httpx.Client, query: str) -> list[int]:
    """Numbers of the runs on all pages, followed by the header Link."""
    found, page = [], f"/v1/runs?{query}"
    while page:
        answer = http.get(page)
        found += [run["run_id"] for run in answer.json()["runs"]]
        page = answer.links.get("next", {}).get("url", "")
        assert (answer.json()["next"] or "") == page
    return found


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        ("", [4, 3, 2, 1, 0]),
        ("state=cancelled", [0]),
        ("name=B", [3, 1]),
        ("solver=emulator", [4]),
        ("network=digits@1&limit=3", [4, 3, 2, 1, 0]),
        ("network=digits@2", []),
        ("tag=night", [3, 1]),
        ("owner=nobody", []),
        ("order=oldest&limit=2", [0, 1, 2, 3, 4]),
        ("order=priority&limit=2", [2, 4, 1, 3, 0]),
        ("order=name&limit=2", [0, 2, 4, 1, 3]),
        ("order=priority&tag=night&limit=1", [1, 3]),
        ("since=2026-01-01", [4, 3, 2, 1, 0]),
        ("until=2026-01-01T00:00:00%2B02:00", []),
    ],
)
def test_filters_orders_and_pages(listed: Listed, query: str, wanted: list[int]) -> None:
    http, runs = listed
    assert numbers(http, query) == [runs[k] for k in wanted]


def test_times_are_limits_of_the_list(listed: Listed) -> None:
    http, runs = listed
    created = datetime.fromisoformat(http.get(f"/v1/runs/{runs[2]}").json()["created_at"])
    later = (created + timedelta(microseconds=1)).astimezone(UTC).isoformat()
    assert [run["run_id"] for run in http.get("/v1/runs", params={"since": later}).json()["runs"]] == [
        *(runs[4], runs[3])
    ]
    assert len(http.get("/v1/runs", params={"until": later}).json()["runs"]) == 3


@pytest.mark.parametrize("order", ["newest", "oldest", "name", "priority", "images"])
def test_pages_lead_back(listed: Listed, order: str) -> None:
    http, _ = listed
    pages = [http.get(f"/v1/runs?limit=2&order={order}")]
    while "next" in pages[-1].links:
        pages.append(http.get(pages[-1].links["next"]["url"]))
    assert [len(page.json()["runs"]) for page in pages] == [2, 2, 1]
    back = [pages[-1]]
    while "prev" in back[-1].links:
        back.append(http.get(back[-1].links["prev"]["url"]))
    assert [page.json()["runs"] for page in back[::-1]] == [page.json()["runs"] for page in pages]
    assert http.get(back[0].links["first"]["url"]).json()["runs"] == pages[0].json()["runs"]


def test_fields_are_those_that_are_wanted(listed: Listed) -> None:
    http, runs = listed
    [first, *_] = http.get("/v1/runs?fields=state,tags").json()["runs"]
    assert first == {"run_id": runs[4], "state": "queued", "tags": []}
    for wrong in (
        "fields=state,secret",
        "fields=",
        "colour=red",
        "limit=501",
        "order=size",
        "since=yesterday",
        "following=1&preceding=2",
    ):
        refused(http.get(f"/v1/runs?{wrong}"), 422)


def test_a_list_has_only_runs_that_the_caller_sees(
    address: str, http: httpx.Client, runs: list[int], database: Database
) -> None:
    made = {name: keys.add(database, name, Scope.SUBMIT).key for name in ("one", "two")}
    admin = keys.add(database, "all", Scope.ADMIN).key
    with client(address, made["one"]) as one:
        own = send(one, npz(2), tags="night").json()["run_id"]
        assert numbers(one, "tag=night") == [own]
        assert numbers(one, "owner=two") == []
    with client(address, made["two"]) as two:
        assert numbers(two, "owner=one") == []
    with client(address, admin) as every:
        assert numbers(every, "owner=one") == [own]
        assert every.get("/v1/runs?limit=1").json()["runs"][0]["owner"] == "one"


def test_tags_are_shown_and_searched_on_the_command_line(
    cli: Cli, http: httpx.Client, runs: list[int]
) -> None:
    listed = json.loads(cli("runs", "list", "--tag", "night", "--json"))
    assert [(run["run_id"], run["tags"]) for run in listed] == [(runs[k], ["night"]) for k in (3, 1)]
    assert "night" in cli("runs", "list")
    assert "night" in cli("runs", "show", runs[1])
    assert http.get(f"/v1/runs/{runs[1]}").json()["tags"] == ["night"]
    refused(send(http, npz(2), tags="two words"), 422)
    body = {"images": [[[0] * 8] * 8], "tags": ["b", "a", "a"], "network": "digits"}
    made = http.post("/v1/runs", json=body).json()["run_id"]
    assert http.get(f"/v1/runs/{made}").json()["tags"] == ["a", "b"]
