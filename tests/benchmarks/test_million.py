"""Runs of 10^3 to 10^6 images: what an image costs, what each process and table needs, and what reads them.

    ANNEALQ_BENCH_IMAGES=1000000 python -m pytest -m bench -s tests/benchmarks/test_million.py -k sqlite

Folded `mnist`, 10 reads, images of a .npy file that is read in pieces; the emulator's clock is off, and its
reads are random bits. Processor time is that of the reader, the workers, the reconciler, the broker and the
database, not of the emulator. PostgreSQL has its default settings. The commands run while no worker is busy.
"""

from __future__ import annotations

import os
import sqlite3
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from itertools import count as count_up
from pathlib import Path

import numpy as np
import psutil
import pytest
from sqlalchemy import text

from producer.images.origin import DataOrigin
from producer.images.source import read_images
from producer.intake.find import source_of
from producer.intake.open import open_intake
from producer.intake.read_on import read_on
from producer.networks import choose
from producer.runs import hints
from producer.runs.request import RunOptions
from schema.database import Database
from schema.messages import Message, Task
from schema.parameters import Parameters, Solver, Visible
from tests.benchmarks.conftest import Record
from tests.benchmarks.plant import Plant, peak_mb, plant
from tests.benchmarks.test_api import served
from tests.benchmarks.test_large_database import requests
from tests.conftest import ROOT, data_file

IMAGES = int(os.environ.get("ANNEALQ_BENCH_IMAGES", "10000"))
NETWORK = os.environ.get("ANNEALQ_BENCH_NETWORK", "mnist")  # or digits, with images of 64 bytes
REPEATED = 3  # measurements of each smaller run
COMMANDS = (
    ("runs show", "runs", "show", "{run}", "--json"),
    ("runs list", "runs", "list"),
    ("export as Parquet", "runs", "export", "{run}", "--output", "{folder}/run.parquet"),
    ("report", "runs", "report", "{run}", "--html", "{folder}/run.html"),
    ("doctor", "doctor"),
    ("prune", "runs", "prune", "{run}"),
)

pytestmark = [pytest.mark.bench, pytest.mark.slow, pytest.mark.timeout(3600 + IMAGES // 50)]


@pytest.fixture(params=["sqlite", "postgresql"])
def busy(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Plant]:
    url = None if request.param == "sqlite" else request.getfixturevalue("default_server")
    with plant(tmp_path / "plant", monkeypatch, clock="off", database_url=url) as made:
        yield made


def test_a_million_images(record: Record, busy: Plant, tmp_path: Path) -> None:
    kind = busy.database.url.get_backend_name()
    counts = [*(few for few in (1_000, 10_000) if few < IMAGES), IMAGES]
    classified(busy, tmp_path, 2_000)  # it searches for the embedding
    costs_us: dict[int, list[float]] = {}
    for _ in range(REPEATED):
        for count in counts[:-1]:
            costs_us.setdefault(count, []).append(classified(busy, tmp_path, count)[1])
    run, cost_us = classified(busy, tmp_path, IMAGES)
    costs_us[IMAGES] = [cost_us]
    for count, costs in costs_us.items():
        what = f"processor time of an image, folded {NETWORK}, 10 reads, {kind}, in a run of {count:,}"
        record(what, statistics.median(costs), "us", spread=costs)
    few, many = (statistics.median(costs_us[count]) for count in (counts[0], counts[-1]))
    record(f"slope, {kind}", 100 * (many / few - 1), "%", 5, at_least=False)
    for name, size_mb in peaks_mb().items():
        record(f"most memory of {name}, {kind}", size_mb, "MB")
    stored = sum(REPEATED * count for count in counts[:-1]) + IMAGES + 4_000
    record_sizes(record, busy, stored, kind)
    record_reading(record, busy, run, tmp_path, f"a run of {IMAGES:,} images, {kind}")
    record_sizes(record, busy, stored, f"{kind}, after pruning")


def record_sizes(record: Record, made: Plant, images: int, where: str) -> None:
    """Record the bytes that each table has for an image, of so many, and what PostgreSQL cleaned up."""
    for name, size in table_sizes(made.database).items():
        record(f"table {name}, {where}", size / images, "bytes an image")
    for name, dead, cleaned in vacuums(made.database):
        record(f"dead rows of {name}, {where}", dead, "rows")
        record(f"autovacuums of {name}, {where}", cleaned, "times")


def record_reading(record: Record, made: Plant, run: int, folder: Path, among: str) -> None:
    """Record what pages and commands take that read ``run``, the largest."""
    env = {"ANNEALQ_HOME": str(made.settings.home), "ANNEALQ_DATABASE_URL": url_of(made)}
    with served(env, folder / "log") as server:
        for path in (f"/runs/{run}", "/", "/metrics"):
            first_s, later, cost_s = requests(server, path)
            record(f"page {path}, {among}, first request", first_s, "s")
            record(f"page {path}, {among}", statistics.median(later), "s", spread=later)
            record(f"page {path}, {among}: processor time", cost_s, "s")
    annealq = [sys.executable, "-m", "producer.cli"]
    commands = [
        (name, annealq + [w.format(run=run, folder=folder) for w in words]) for name, *words in COMMANDS
    ]
    for name, command in (("backup", backup(made, folder)), *commands):
        for what, value, unit in took(command, env):
            record(f"{name}, {among}: {what}", value, unit)


def vacuums(database: Database) -> list[tuple[str, int, int]]:
    """Return the dead rows of the four tables with the most, and how often each was vacuumed."""
    if database.url.get_backend_name() == "sqlite":
        return []
    query = (
        "SELECT relname, n_dead_tup, autovacuum_count FROM pg_stat_user_tables "
        "ORDER BY n_dead_tup DESC, autovacuum_count DESC LIMIT 4"
    )
    with database.reading() as session:
        return [tuple(row) for row in session.execute(text(query))]


def url_of(made: Plant) -> str:
    return made.database.url.render_as_string(hide_password=False)


def backup(made: Plant, folder: Path) -> list[str]:
    """Return the command that copies the whole database while it is in use."""
    if made.database.url.get_backend_name() == "sqlite":
        return [sys.executable, "-m", "producer.cli", "db", "backup", "--output", str(folder / "copy.db")]
    host, user = str(made.database.url.query["host"]), str(made.database.url.username)
    return ["pg_dump", "-h", host, "-U", user, "-Fc", "-Z1", "-f", str(folder / "copy.dump"), "postgres"]


def write_images(folder: Path, count: int, seed: int) -> tuple[str, str]:
    """Write images, again and again with other grey values, and their labels; return their paths."""
    found = read_images("digits" if NETWORK == "digits" else str(data_file("mnist_test.npz")))
    assert found.labels is not None
    first = 1000 * seed % len(found.images)  # a worker knows the batches that it has seen last
    images, labels = np.roll(found.images, -first, 0), np.roll(found.labels, -first)
    paths = folder / f"images-{seed}.npy", folder / f"labels-{seed}.npy"
    written = np.lib.format.open_memmap(paths[0], "w+", np.uint8, (count, *images.shape[1:]))
    most = int(images.max())
    for begin in range(0, count, len(images)):
        part = written[begin : begin + len(images)]
        part[...] = np.minimum(images[: len(part)], max(most - begin // len(images), most // 2))
    written.flush()
    np.save(paths[1], np.resize(labels, count).astype(np.int64))
    return str(paths[0]), str(paths[1])


_SEEDS = count_up()


def classified(made: Plant, folder: Path, count: int) -> tuple[int, float]:
    """Read and classify so many images; return the run, and microseconds for each of them."""
    seed = next(_SEEDS)
    data, labels = write_images(folder, count, seed)
    parameters = Parameters(reads=10, visible=Visible.FOLDED, seed=seed)
    before, own = made.cpu_s(), time.process_time()
    source = source_of(DataOrigin(data, "images.npy", labels))
    network = choose.get_or_install_network(made.database, source.head(), NETWORK)
    run = open_intake(made.database, source, network, Solver.EMULATOR, parameters, RunOptions()).id

    def notify() -> None:
        hints.send(made.settings.broker_url, Message(Task.DISPATCH))

    notify()
    read_on(made.database, run, source, notify=notify)
    own = time.process_time() - own
    made.finish(run)
    return run, 1e6 * (made.cpu_s() - before + own) / count


def peaks_mb() -> dict[str, float]:
    """Return the most resident memory that the processes of each kind have had, each by itself."""
    found: dict[str, float] = {}
    for process in psutil.Process().children(recursive=True):
        line = " ".join(process.cmdline()) or process.name()
        kinds = ("worker.celery", "worker.reconcile", "worker.emulator", "valkey", "postgres")
        kind = next((name for name in kinds if name in line), line[:40])
        found[kind] = max(found.get(kind, 0.0), peak_mb(process.pid))
    return found


def table_sizes(database: Database) -> dict[str, float]:
    """Return the bytes of each table with its indexes, largest first."""
    if path := database.url.database if database.url.get_backend_name() == "sqlite" else None:
        query = (
            "SELECT m.tbl_name, sum(s.pgsize) FROM dbstat s JOIN sqlite_master m ON m.name = s.name "
            "GROUP BY m.tbl_name ORDER BY 2 DESC LIMIT 8"
        )
        with closing(sqlite3.connect(path)) as connection:  # annealq's own library has no dbstat
            return dict(connection.execute(query).fetchall())
    query = "SELECT relname, pg_total_relation_size(relid) FROM pg_stat_user_tables ORDER BY 2 DESC LIMIT 8"
    with database.reading() as session:
        return {row[0]: float(row[1]) for row in session.execute(text(query))}


def took(command: list[str], env: dict[str, str]) -> list[tuple[str, float, str]]:
    """Run a command; return its time, processor time and most memory, each with its name and unit."""
    start = time.perf_counter()
    most_mb = 0.0
    with subprocess.Popen(command, cwd=ROOT, env={**os.environ, **env}, stdout=subprocess.DEVNULL) as process:
        while True:
            # Not `ru_maxrss`: that is at least what this process had when it forked.
            with suppress(OSError, AssertionError):
                most_mb = max(most_mb, peak_mb(process.pid))
            pid, status, usage = os.wait4(process.pid, os.WNOHANG)
            if pid:
                break
            time.sleep(0.02)
        process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, command
    wall_s, cpu_s = time.perf_counter() - start, usage.ru_utime + usage.ru_stime
    return [("time", wall_s, "s"), ("processor time", cpu_s, "s"), ("most memory", most_mb, "MB")]
