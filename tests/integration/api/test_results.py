"""Results of a run over HTTP: filtered, and one image with its pixels and reads."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from sqlalchemy import insert

from producer.networks.chosen import ChosenNetwork
from schema.database import Database
from schema.messages import Message, Task
from schema.settings.worker import WorkerSettings
from schema.tables import Network
from tests.integration.api.conftest import npz, refused, send
from tests.integration.conftest import Outbox, some_images, work_off, working_network
from tests.serving import client, serving
from worker.context import Context

Row = dict[str, Any]


@pytest.fixture
def run(http: httpx.Client, context: Context, working: ChosenNetwork) -> int:
    return finished_run(http, context)


@pytest.fixture(scope="module")
def finished(shared_database_url: str) -> Iterator[tuple[httpx.Client, int]]:
    """A client and the same run, once for the tests that only read."""
    database = Database(shared_database_url)
    with database.transaction() as session:
        session.execute(insert(Network).values(working_network()))
    with serving(shared_database_url) as address, client(address) as http:
        yield http, finished_run(http, Context(database, WorkerSettings(max_attempts=1), Outbox()))
    database.dispose()


def finished_run(http: httpx.Client, context: Context) -> int:
    """Return a run of 30 images that is done."""
    made: int = send(http, npz(30), reads=5, batch_size=10).json()["run_id"]
    work_off(context, Message(Task.DISPATCH))
    return made


def read(http: httpx.Client, run: int, query: str) -> list[Row]:
    """Read all pages of results."""
    rows: list[Row] = []
    page = f"/v1/runs/{run}/results?{query}"
    while page:
        found = http.get(page).json()
        rows += found["results"]
        page = found["next"]
    return rows


@pytest.mark.parametrize(
    ("query", "is_wanted"),
    [
        ("wrong=true", lambda row: row["predicted"] != row["label"]),
        ("wrong=false", lambda row: row["predicted"] == row["label"]),
        ("status=undecided", lambda row: row["status"] == "undecided"),
        ("predicted=3", lambda row: row["predicted"] == 3),
        ("label=3&wrong=true", lambda row: row["label"] == 3 != row["predicted"]),
        ("margin_below=0.5", lambda row: row["margin"] < 0.5),
        ("probability_below=0.9", lambda row: row["probability"] is not None and row["probability"] < 0.9),
        ("cursor=12&margin_below=0.9", lambda row: row["image"] >= 12 and row["margin"] < 0.9),
    ],
)
def test_results_are_filtered_page_by_page(
    finished: tuple[httpx.Client, int], query: str, is_wanted: Callable[[Row], bool]
) -> None:
    http, run = finished
    every = read(http, run, "limit=30")
    assert len(every) == 30
    assert read(http, run, f"{query}&limit=4") == [row for row in every if is_wanted(row)]
    text = http.get(f"/v1/runs/{run}/results?{query}", headers={"Accept": "text/csv"}).text
    assert len(text.splitlines()) - 1 == len([row for row in every if is_wanted(row)])


def test_filters_that_cannot_be_used(finished: tuple[httpx.Client, int]) -> None:
    http, run = finished
    for wrong in ("wrong=maybe", "status=lost", "predicted=-1", "margin_below=2", "colour=red"):
        refused(http.get(f"/v1/runs/{run}/results?{wrong}"), 422)


def test_an_image_is_shown_with_its_pixels_result_and_reads(http: httpx.Client, run: int) -> None:
    images = some_images(30)
    assert images.labels is not None
    every = read(http, run, "limit=30")
    for index in (0, 9, 10, 29):
        shown = http.get(f"/v1/runs/{run}/images/{index}").json()
        assert shown["pixels"] == images.images[index].tolist()
        assert (shown["label"], shown["result"]) == (images.labels[index], every[index])
    reads = http.get(f"/v1/runs/{run}/images/29/reads").json()
    assert (reads["reads"], len(reads["bits"]), len(reads["energies"])) == (5, 5, 5)
    assert {len(bits) for bits in reads["bits"]} == {reads["variables"]}
    assert min(reads["energies"]) == pytest.approx(every[29]["lowest_energy"], rel=1e-5)
    first = http.get(f"/v1/runs/{run}/images/29/reads?limit=2").json()
    assert first["energies"] == reads["energies"][:2]
    again = http.post(f"/v1/runs/{run}/rescore", json={"reads": 3}).json()["run_id"]
    assert http.get(f"/v1/runs/{again}/images/29/reads").json()["bits"] == reads["bits"]
    refused(http.get(f"/v1/runs/{run}/images/30"), 404)
    refused(http.get(f"/v1/runs/{run}/images/-1"), 422)


def test_an_image_that_is_not_sampled_has_pixels_and_no_reads(
    http: httpx.Client, network: ChosenNetwork
) -> None:
    run = send(http, npz(3)).json()["run_id"]
    shown = http.get(f"/v1/runs/{run}/images/2").json()
    assert (shown["height"], shown["width"], shown["result"]) == (8, 8, None)
    assert "not sampled" in refused(http.get(f"/v1/runs/{run}/images/2/reads"), 404)
