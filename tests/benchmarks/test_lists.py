"""Figures of lists of runs over HTTP: a page of 5,000 runs, filtered and ordered."""

from __future__ import annotations

import time
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
from sqlalchemy import insert

import migrations
from schema.database import Database
from schema.states import RunState
from schema.tables import Network, Run, RunTag
from tests.benchmarks.conftest import Record
from tests.benchmarks.test_api import percentile, served
from tests.integration.conftest import START, network_row

pytestmark = [pytest.mark.bench, pytest.mark.timeout(600)]

RUNS = 5_000
QUERIES = {
    "a page of 20": "",
    "a page of 100": "limit=100",
    "by state and solver": "state=done&solver=local",
    "by part of the name": "name=4242",
    "by tag, oldest first": "tag=tag-7&order=oldest",
    "by network and time, by priority": "network=digits@1&since=2026-01-02&order=priority",
    "two fields of 100": "limit=100&fields=run_id,state",
}


def fill(url: str) -> None:
    """Store 5,000 finished runs, each with a tag; nothing reads their batches."""
    database = Database(url)
    with database.transaction() as session:
        session.execute(insert(Network).values(network_row()))
        runs = [
            {
                "id": k + 1, "name": f"run {k}", "network_id": 1, "parameters": {"reads": 100},
                "solver": ("local", "emulator", "dwave")[k % 3], "state": RunState.DONE, "priority": k % 5,
                "content_sha256": f"{k:064}", "images": 100, "batches": 1, "labelled": False,
                "batches_scored": 1, "statistics": {"images_per_second": 100.0}, "started_at": START,
                "created_at": START + k * timedelta(minutes=1), "finished_at": START,
            }
            for k in range(RUNS)
        ]  # fmt: skip
        session.execute(insert(Run), runs)
        session.execute(insert(RunTag), [{"run_id": k + 1, "tag": f"tag-{k % 100}"} for k in range(RUNS)])
    database.dispose()


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_lists(record: Record, tmp_path: Path, kind: str, request: pytest.FixtureRequest) -> None:
    """Goal: each at most 30 ms, median of 30 requests on one connection."""
    if kind == "sqlite":
        url = f"sqlite:///{tmp_path / 'annealq.db'}"
        migrations.upgrade(url)
    else:
        _, url = request.getfixturevalue("own_server")
    fill(url)
    env = {"ANNEALQ_HOME": str(tmp_path / "home"), "ANNEALQ_DATABASE_URL": url}
    with served(env, tmp_path / "log") as server:
        headers = {"Authorization": f"Bearer {server.token}"}
        with httpx.Client(base_url=f"http://{server.address}", headers=headers, trust_env=False) as http:
            for name, query in QUERIES.items():
                times = []
                for _ in range(33):
                    start = time.perf_counter()
                    answer = http.get(f"/v1/runs?{query}")
                    times.append(1000 * (time.perf_counter() - start))
                    assert answer.status_code == 200
                    assert answer.json()["runs"]
                figure = f"list of {RUNS:,} runs, {kind}: {name}, p50"
                record(figure, percentile(times[3:], 50), "ms", 30, at_least=False)
