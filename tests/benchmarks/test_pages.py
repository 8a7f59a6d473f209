"""Pages of a large run and of many runs: a server process, and a browser's requests from this one.

The page of a run counts its 100,000 images once, in 0.1 s; an update reads the batch that was scored since.
The list of runs reads one page of 50 by an index, and the filters cost a condition each.
"""

from __future__ import annotations

import http.client
import statistics
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import insert, select, update
from sqlalchemy.orm import Session

import migrations
from schema.codecs import arrays
from schema.database import Database
from schema.parameters import Parameters, Solver
from schema.shapes import ImageShape
from schema.states import BatchState, RunState
from schema.tables import Batch, BatchImages, Classification, Network, Run
from tests.benchmarks.conftest import Record
from tests.benchmarks.test_api import Served, served
from tests.integration.conftest import network_row

pytestmark = [pytest.mark.bench, pytest.mark.timeout(900)]

IMAGES, BATCH, CLASSES, SIDE = 100_000, 100, 10, 8
RUNS = 5_000


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    url = f"sqlite:///{tmp_path / 'annealq.db'}"
    migrations.upgrade(url)
    opened = Database(url)
    with opened.transaction() as session:
        session.execute(insert(Network).values(network_row()))
    yield opened
    opened.dispose()


def run_row(now: datetime, **values: Any) -> dict[str, Any]:
    return {
        "network_id": 1,
        "solver": Solver.LOCAL,
        "parameters": Parameters(reads=100).to_dict(),
        "state": RunState.RUNNING,
        "content_sha256": "0" * 64,
        "images": IMAGES,
        "batches": IMAGES // BATCH,
        "labelled": True,
        "created_at": now,
        "started_at": now,
        **values,
    }


def fill(session: Session, now: datetime, scored: int) -> int:
    """Write a run with that many batches scored, 95 % of their images correctly; return its number."""
    values = run_row(now, name="large", batches_scored=scored)
    run = session.execute(insert(Run).values(values).returning(Run.id)).scalar_one()
    rows = [
        {
            "run_id": run,
            "ordinal": k,
            "first_image": k * BATCH,
            "count": BATCH,
            "shape": f"{SIDE}x{SIDE}",
            "dtype": "uint8",
            "due_at": now,
            "created_at": now,
            "state": BatchState.SCORED if k < scored else BatchState.PENDING,
            "sampled_at": now if k < scored else None,
            "scored_at": now if k < scored else None,
        }
        for k in range(IMAGES // BATCH)
    ]
    session.execute(insert(Batch), rows)
    rng = np.random.default_rng(0)
    labels = rng.integers(0, CLASSES, (IMAGES // BATCH, BATCH)).astype("<i2")
    pixels = rng.integers(0, 17, (BATCH, SIDE, SIDE), dtype=np.uint8)
    packed = arrays.encode_images(pixels)
    for batch in session.execute(select(Batch.id, Batch.ordinal).where(Batch.run_id == run)).all():
        stored = labels[batch.ordinal].tobytes()
        sha256 = arrays.batch_checksum(packed, ImageShape.of(pixels), stored)
        images = {"images": packed, "images_sha256": sha256, "labels": stored}
        session.execute(insert(BatchImages).values(batch_id=batch.id, **images))
        if batch.ordinal < scored:
            score(session, run, batch.ordinal, labels[batch.ordinal], rng)
    return run


def score(session: Session, run: int, ordinal: int, labels: Any, rng: np.random.Generator) -> None:
    scores = arrays.encode_scores(rng.random((BATCH, CLASSES)))
    rows = []
    for k, label in enumerate(labels.tolist()):
        right, certainty = rng.random() < 0.95, float(rng.random())
        rows.append(
            {
                "run_id": run,
                "image": ordinal * BATCH + k,
                "label": label,
                "status": "decided",
                "predicted": label if right else (label + 1) % CLASSES,
                "scores": scores[k],
                "margin": certainty,
                "probability": certainty,
                "energy_gap": 1.0,
                "one_hot_fraction": 1.0,
                "lowest_energy": -3.0,
            }
        )
    session.execute(insert(Classification), rows)


def finish_batch(database: Database, run: int, ordinal: int) -> None:
    """Score a batch as a worker does."""
    rng = np.random.default_rng(ordinal)
    with database.transaction() as session:
        now = database.now(session)
        score(session, run, ordinal, rng.integers(0, CLASSES, BATCH), rng)
        done = {"state": BatchState.SCORED, "sampled_at": now, "scored_at": now}
        session.execute(update(Batch).where(Batch.run_id == run, Batch.ordinal == ordinal).values(done))
        session.execute(update(Run).where(Run.id == run).values(batches_scored=Run.batches_scored + 1))


@contextmanager
def browsing(tmp_path: Path) -> Iterator[tuple[Served, http.client.HTTPConnection]]:
    """Serve the database in ``tmp_path``; yields the server, with modules and templates loaded."""
    url = f"sqlite:///{tmp_path / 'annealq.db'}"
    env = {"ANNEALQ_HOME": str(tmp_path / "home"), "ANNEALQ_DATABASE_URL": url}
    with (
        served(env, tmp_path / "log") as server,
        closing(http.client.HTTPConnection(server.address, timeout=60)) as connection,
    ):
        timed(server, connection, "/networks")
        yield server, connection


def timed(server: Served, connection: http.client.HTTPConnection, path: str) -> tuple[float, float, int, str]:
    """Return milliseconds, those of processor time of the server, status and body of a GET."""
    start, before = time.perf_counter(), server.cpu_ms()
    connection.request("GET", path, headers={"Authorization": f"Bearer {server.token}"})
    answer = connection.getresponse()
    body = answer.read().decode()
    return 1000 * (time.perf_counter() - start), server.cpu_ms() - before, answer.status, body


def seen(page: str) -> str:
    return page.partition('name="seen" value="')[2].partition('"')[0].replace(" ", "+")


def test_page_of_a_large_run(record: Record, tmp_path: Path, database: Database) -> None:
    with database.transaction() as session:
        now = database.now(session)
        other = fill(session, now, scored=1)  # its page is loaded first, by a process that has just started
        run = fill(session, now, scored=900)
        last = (Batch.run_id == run, Batch.ordinal == IMAGES // BATCH - 1)  # a worker is at it
        held = {"state": BatchState.SAMPLING, "lease_until": now + timedelta(hours=1), "fence": 1}
        session.execute(update(Batch).where(*last).values(held))
    changed, unchanged = [], []
    with browsing(tmp_path) as (server, connection):
        timed(server, connection, f"/runs/{other}")
        first_ms, first_cpu_ms, status, page = timed(server, connection, f"/runs/{run}")
        assert (status, "90,000 of 100,000 images" in page) == (200, True)
        for ordinal in range(900, 920):
            finish_batch(database, run, ordinal)
            took_ms, cpu_ms, status, page = timed(server, connection, f"/runs/{run}/parts?seen={seen(page)}")
            assert (status, f"{(ordinal + 1) * BATCH:,} of 100,000" in page) == (200, True)
            changed.append((took_ms, cpu_ms))
            took_ms, cpu_ms, _, _ = timed(server, connection, f"/runs/{run}/parts?seen={seen(page)}")
            unchanged.append((took_ms, cpu_ms))
    what = "page of a run of 100,000 images"
    record(f"{what}, first request", first_ms, "ms", 200, at_least=False)
    record(f"{what}, processor time of the server", first_cpu_ms, "ms")
    for name, times in (("after a batch", changed), ("without a change", unchanged)):
        waits, costs = zip(*times, strict=True)
        record(f"{what}, update {name}", statistics.median(waits), "ms", 20, at_least=False, spread=waits)
        record(f"{what}, update {name}, processor time", statistics.mean(costs), "ms")


def test_list_of_many_runs(record: Record, tmp_path: Path, database: Database) -> None:
    with database.transaction() as session:
        now = database.now(session)
        small = {"images": 10, "batches": 1}
        rows = [run_row(now, name=f"night {k % 97}", priority=k % 7, **small) for k in range(RUNS)]
        session.execute(insert(Run), rows)
    with browsing(tmp_path) as (server, connection):
        for query in ("", "?name=night+9&solver=local&order=name"):
            times = [timed(server, connection, f"/{query}")[:2] for _ in range(22)][2:]
            waits, costs = zip(*times, strict=True)
            what = f"page of {RUNS:,} runs" + (", with filters" if query else "")
            record(what, statistics.median(waits), "ms", 30, at_least=False, spread=waits)
            record(f"{what}, processor time of the server", statistics.mean(costs), "ms")
