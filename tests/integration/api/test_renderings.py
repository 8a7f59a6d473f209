"""Reports and charts of runs: drawn once while their content is the same, by one thread for all who ask."""

from __future__ import annotations

import asyncio
import threading
from datetime import timedelta

import httpx
import pytest
from sqlalchemy import delete, insert, select, update

from producer.dashboard.views.energies import EnergyCharts
from producer.dashboard.web.drawing import Drawing, digest
from producer.dashboard.web.renderings import Renderings
from producer.networks.chosen import ChosenNetwork
from producer.runs.enqueue import RunOptions, enqueue_run
from schema.database import Database
from schema.messages import Message, Task
from schema.parameters import Parameters, Solver
from schema.tables import Batch, Rendering, Run, SampleSet, Worker
from tests import PATIENCE_S
from tests.integration.conftest import some_images, work_off
from worker.context import Context
from worker.pipeline.energy_histograms import compute_histograms

READS = 5


@pytest.fixture
def finished(context: Context, database: Database, working: ChosenNetwork) -> int:
    images, chosen = some_images(4), Parameters(reads=READS)
    run = enqueue_run(database, images, working, Solver.LOCAL, chosen, RunOptions()).id
    work_off(context, Message(Task.DISPATCH))
    return run


def stored(database: Database) -> dict[str, tuple[str, bytes]]:
    with database.reading() as session:
        return {
            row.kind: (row.content_sha256, row.body) for row in session.execute(select(Rendering)).scalars()
        }


def test_drawings_are_stored_and_drawn_again_when_their_content_changes(
    http: httpx.Client, finished: int, database: Database, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANNEALQ_DATABASE_URL", database_url)  # for the program that computes energies
    report = f"/runs/{finished}/report.html"
    first = http.get(report)
    assert first.status_code == 200
    found = stored(database)
    assert found["report"][1] == first.content
    with database.transaction() as session:
        session.execute(update(Rendering).values(body=b"the stored one"))
    assert http.get(report).text == "the stored one"
    assert "default-src 'none'" in http.get(report).headers["Content-Security-Policy"]
    with database.transaction() as session:
        session.execute(update(Run).values(name="renamed"))
    assert "renamed" in http.get(report).text
    assert stored(database)["report"][0] != found["report"][0]


def add_worker(database: Database) -> None:
    with database.transaction() as session:
        now = database.now(session)
        row = {"name": "w", "host": "h", "pid": 1, "version": "1", "accounts": {}}
        session.execute(insert(Worker).values(**row, started_at=now, seen_at=now))


def test_a_page_polls_until_a_worker_has_computed_the_energies(
    http: httpx.Client, finished: int, database: Database, context: Context
) -> None:
    page = f"/runs/{finished}/images/1"
    waiting = http.get(f"{page}/energies.svg")
    assert (waiting.status_code, waiting.headers["Retry-After"]) == (202, "2")
    assert "No worker is alive" in waiting.text
    add_worker(database)
    shown = http.get(page).text
    assert "Computing" in shown
    assert f'hx-get="{page}" hx-trigger="every 2s" hx-target="this" hx-select="#energies"' in shown
    compute_histograms(context, finished)
    shown = http.get(page).text
    assert f'<img id="energies" class="energies" src="{page}/energies.svg"' in shown
    assert "Computing" not in shown
    assert "<title>visible unit 0: " in shown
    drawn = http.get(f"{page}/energies.svg")
    assert (drawn.status_code, drawn.headers["content-type"]) == (200, "image/svg+xml")
    assert drawn.text.startswith("<svg")
    assert http.get(f"/runs/{finished}/images/9/energies.svg").status_code == 404
    assert http.get(f"/runs/{finished}/images/9").status_code == 404


def test_energies_are_asked_for_once_and_again_when_the_message_has_expired(
    finished: int, database: Database, context: Context
) -> None:
    sent: list[Message] = []
    charts = EnergyCharts(sent.append)
    message = Message(Task.COMPUTE_HISTOGRAMS, finished)
    for _ in range(3):
        assert charts.find(database, finished, 2).histogram is None
    assert sent == [message]
    charts.find(database, finished, 3)
    assert sent == [message] * 2  # for another image
    age(database, 61)
    charts.find(database, finished, 2)
    assert sent == [message] * 3
    compute_histograms(context, finished)
    for image in (2, 3):
        histogram = charts.find(database, finished, image).histogram
        assert histogram is not None
        assert sum(map(sum, histogram["classes"].values())) == READS
    age(database, 61)
    assert charts.find(database, finished, 2).histogram is not None
    with database.transaction() as session:  # of another content
        session.execute(update(Batch).values(fence=Batch.fence + 1))
    assert charts.find(database, finished, 2).histogram is None
    assert len(sent) == 4


def age(database: Database, seconds: float) -> None:
    with database.transaction() as session:
        earlier = database.now(session) - timedelta(seconds=seconds)
        session.execute(update(Rendering).values(created_at=earlier))


def test_energies_that_cannot_be_computed_are_explained_and_tried_again(
    http: httpx.Client, finished: int, database: Database, context: Context
) -> None:
    page = f"/runs/{finished}/images/0"
    http.get(page)
    with database.transaction() as session:
        session.execute(update(SampleSet).values(data=b"damaged"))
    compute_histograms(context, finished)
    shown = http.get(page).text
    assert "The energies cannot be computed" in shown
    assert "not a sample set" in shown
    assert "hx-select" not in shown
    assert http.get(f"{page}/energies.svg").status_code == 503
    age(database, 61)
    assert "hx-select" in http.get(page).text
    with database.transaction() as session:
        session.execute(delete(SampleSet))
    compute_histograms(context, finished)
    without_reads = http.get(page).text
    assert "annealq runs prune" in without_reads
    assert "<title>visible unit 0: " in without_reads  # they need no reads
    assert http.get(f"{page}/energies.svg").status_code == 503


def test_all_who_ask_at_once_share_one_drawing(database: Database, finished: int) -> None:
    drawn: list[int] = []
    asked = threading.Event()

    def draw() -> bytes:
        drawn.append(1)
        asked.wait(PATIENCE_S)
        return b"drawn"

    async def scenario() -> None:
        renderings = Renderings(database, asyncio.to_thread)
        drawing = Drawing(finished, "chart", digest(1), "text/plain", draw, {})
        assert renderings.find(drawing) is None
        tasks = [asyncio.create_task(renderings.get(drawing)) for _ in range(5)]
        await asyncio.sleep(0)  # all of them ask
        tasks.pop().cancel()  # one hangs up
        asked.set()
        assert {bytes((await task).body) for task in tasks} == {b"drawn"}
        found = renderings.find(drawing)
        assert found is not None
        assert found.body == b"drawn"

    asyncio.run(scenario())
    assert drawn == [1]
