"""Reports and charts of runs: drawn once while their content is the same, by one thread for all who ask."""

from __future__ import annotations

import asyncio
import threading

import httpx
import pytest
from sqlalchemy import select, update

from producer.dashboard.web.drawing import Drawing, digest
from producer.dashboard.web.renderings import Renderings
from producer.networks.chosen import ChosenNetwork
from producer.runs.enqueue import RunOptions, enqueue_run
from schema.database import Database
from schema.messages import Message, Task
from schema.parameters import Parameters, Solver
from schema.tables import Rendering, Run
from tests.integration.conftest import some_images, work_off
from worker.context import Context


@pytest.fixture
def finished(context: Context, database: Database, working: ChosenNetwork) -> int:
    images, chosen = some_images(4), Parameters(reads=5)
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
    report, energies = f"/runs/{finished}/report.html", f"/runs/{finished}/images/1/energies.svg"
    first = {path: http.get(path) for path in (report, energies)}
    assert [answer.status_code for answer in first.values()] == [200, 200]
    found = stored(database)
    assert found["report"][1] == first[report].content
    assert found["energies/1"][1] == first[energies].content
    assert first[energies].headers["content-type"] == "image/svg+xml"
    with database.transaction() as session:
        session.execute(update(Rendering).values(body=b"the stored one"))
    assert http.get(report).text == http.get(energies).text == "the stored one"
    assert "default-src 'none'" in http.get(report).headers["Content-Security-Policy"]
    with database.transaction() as session:
        session.execute(update(Run).values(name="renamed"))
    assert "renamed" in http.get(report).text
    assert stored(database)["report"][0] != found["report"][0]
    assert http.get(f"/runs/{finished}/images/9/energies.svg").status_code == 404


def test_all_who_ask_at_once_share_one_drawing(database: Database, finished: int) -> None:
    drawn: list[int] = []
    asked = threading.Event()

    def draw() -> bytes:
        drawn.append(1)
        asked.wait(60)
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
