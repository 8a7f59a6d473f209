"""Pages, lists, commands and the queue on a database with many runs: what must not grow with their number.

    ANNEALQ_BENCH_RUNS=10000 python -m pytest -m bench -s tests/benchmarks/test_large_database.py

10,000 runs have 10^7 images; `tests/benchmarks/large_database.py` describes them.
"""

from __future__ import annotations

import http.client
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

import psutil
import pytest

import migrations
from schema.database import Database
from schema.settings.worker import WorkerSettings
from tests.benchmarks.conftest import Record
from tests.benchmarks.large_database import BATCHES, IMAGES, OPEN, RUNS, fill
from tests.benchmarks.test_api import Served, served
from tests.conftest import ROOT
from tests.integration.conftest import Outbox
from worker.reconcile import reconcile
from worker.records import measurements

pytestmark = [pytest.mark.bench, pytest.mark.slow, pytest.mark.timeout(1200 + RUNS)]

TIMES = 7
PAGES = {
    "list": "/",
    "list by name": "/?name=night+9&order=name",
    "list by tag": "/?tag=tag-7",
    "list by priority, later": "/?order=priority&following={middle}",
    "run": "/runs/{first}",
    "unfinished run": "/runs/{last}",
    "images of a run": "/runs/{first}/images",
    "history of a run": "/runs/{first}/history",
    "solvers": "/solvers",
    "chip": "/chips/1",
    "networks": "/networks",
    "workers": "/workers",
}
API = {
    "/v1/runs of 100": "/v1/runs?limit=100",
    "/v1/runs by state": "/v1/runs?state=done&solver=emulator&limit=20",
    "/v1/runs/RUN": "/v1/runs/{first}",
    "results of a run": "/v1/runs/{first}/results?limit=100",
    "/metrics": "/metrics",
}
COMMANDS = {"runs list": ("runs", "list"), "runs show": ("runs", "show", "1", "--json")}


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "postgresql":
        found: str = request.getfixturevalue("default_server")
        return found
    made = f"sqlite:///{tmp_path / 'annealq.db'}"
    migrations.upgrade(made)
    return made


def test_a_large_database(record: Record, url: str, tmp_path: Path) -> None:
    database = Database(url)
    kind = database.url.get_backend_name()
    began = time.perf_counter()
    fill(database)
    print(f"filled in {time.perf_counter() - began:.0f} s", flush=True)
    among = f"among {RUNS:,} runs of {IMAGES:,} images, {kind}"
    env = {"ANNEALQ_HOME": str(tmp_path / "home"), "ANNEALQ_DATABASE_URL": url}
    with served(env, tmp_path / "log") as server:
        for name, template in {**PAGES, **API}.items():
            path = template.format(first=1, middle=RUNS // 2, last=RUNS)
            first_s, later, cost_s = requests(server, path)
            record(f"{name} {among}, first request", first_s, "s", at_least=False)
            record(f"{name} {among}", statistics.median(later), "s", at_least=False, spread=later)
            record(f"{name} {among}: processor time", cost_s, "s", 0.2, at_least=False)
    for name, words in COMMANDS.items():
        times = [command_s(words, env) for _ in range(3)]
        record(f"annealq {name} {among}", statistics.median(times), "s", at_least=False, spread=times)
    for name, took_s in queue(database).items():
        record(f"{name} {among}", took_s, "s", at_least=False)
    database.dispose()


def requests(server: Served, path: str) -> tuple[float, list[float], float]:
    """Return the seconds that the first GET of ``path`` takes, and those of later ones.

    The last is the mean processor time of a request, of the server and of the database.
    """
    times, before = [], used_s(server)
    with closing(http.client.HTTPConnection(server.address, timeout=600)) as connection:
        for _ in range(1 + TIMES):
            start = time.perf_counter()
            connection.request("GET", path, headers={"Authorization": f"Bearer {server.token}"})
            answer = connection.getresponse()
            body = answer.read()
            times.append(time.perf_counter() - start)
            assert answer.status == 200, (path, answer.status, body[:300])
            time.sleep(2.1 if path == "/metrics" else 0)  # it is stored for two seconds
    return times[0], times[1:], (used_s(server) - before) / len(times)


def used_s(server: Served) -> float:
    """Return the processor time so far of the server, and of PostgreSQL if that runs here."""
    total = server.cpu_ms() / 1e3
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            if process.name() == "postgres":
                total += sum(process.cpu_times()[:2])
    return total


def command_s(words: tuple[str, ...], env: dict[str, str]) -> float:
    """Return the seconds of processor time of a command."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-m", "producer.cli", *words]
    subprocess.run(command, cwd=ROOT, env={**os.environ, **env}, check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def queue(database: Database) -> dict[str, float]:
    """Return the seconds of a pass of the reconciler, and of what workers look up for each batch."""
    settings, outbox = WorkerSettings(), Outbox()
    newest = RUNS * BATCHES

    def look_back() -> None:
        with database.reading() as session:
            measurements.of_earlier(session, newest - OPEN * BATCHES, 2, 8)

    def bias() -> None:
        with database.reading() as session:
            measurements.coupling_bias(session, "1" * 64)

    return {
        "a pass of the reconciler": fastest(lambda: reconcile(database, settings, outbox)),
        "problems of the kind of a batch, of which there are none": fastest(look_back),
        "coupling bias of a chip without problems": fastest(bias),
    }


def fastest(measured: Callable[[], object]) -> float:
    times = []
    for _ in range(3):
        start = time.perf_counter()
        measured()
        times.append(time.perf_counter() - start)
    return min(times)
