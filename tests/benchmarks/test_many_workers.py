"""1, 2, 4 and 8 workers on two hosts, one PostgreSQL, one broker, two reconcilers: what an image costs then.

    ANNEALQ_BENCH_WORKERS=1,2,4,8 python -m pytest -m bench -s tests/benchmarks/test_many_workers.py

Network namespaces are the hosts. On two processors more workers are not faster; where they hinder each other,
an image costs more processor time, and their transactions wait for locks. Every 20 ms the server says what
its connections do. Batches of 157 images, half a problem, make six times as many claims as by default.
"""

from __future__ import annotations

import os
import statistics
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import count as count_up
from pathlib import Path
from typing import Any, cast

import psutil
import pytest
from sqlalchemy import create_engine, text

import migrations
from producer.networks import choose
from producer.runs import hints
from producer.runs.enqueue import RunOptions, enqueue_run
from producer.stack.stack import worker_command
from schema.database import Database
from schema.messages import Message, Task, queue_names
from schema.parameters import Parameters, Solver, Visible
from schema.settings import load
from tests.acceptance.conftest import wait_for
from tests.acceptance.hosts import Host, broker_on, network, postgresql_on
from tests.acceptance.night import Night
from tests.acceptance.test_hosts import Machines, answers
from tests.benchmarks.conftest import Record
from tests.benchmarks.plant import CHIP, mnist
from tests.emulators import TOKEN, Emulator

WORKERS = [int(count) for count in os.environ.get("ANNEALQ_BENCH_WORKERS", "1,2,4").split(",")]
IMAGES = int(os.environ.get("ANNEALQ_BENCH_IMAGES", "10000"))
BATCH = 157
RUNS = int(os.environ.get("ANNEALQ_BENCH_REPEATS", "3"))

pytestmark = [pytest.mark.bench, pytest.mark.slow, pytest.mark.timeout(3600)]

_KINDS = {
    "worker.celery": "workers",
    "worker.reconcile": "reconcilers",
    "postgres": "database",
    "valkey": "broker",
}
_ACTIVITY = text(
    "SELECT coalesce(wait_event_type || ':' || wait_event, 'works') FROM pg_stat_activity "
    "WHERE pid <> pg_backend_pid() AND backend_type = 'client backend' AND state <> 'idle'"
)


@dataclass(frozen=True)
class Farm:
    """Database, broker, two reconcilers and an emulator on hosts of their own; workers on two others."""

    night: Night
    hosts: dict[str, Host]
    told: dict[str, str]

    def cpu_s(self) -> Counter[str]:
        """Return the processor time so far of the processes of each kind, but of the emulator."""
        found: Counter[str] = Counter()
        for process in psutil.Process().children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                line = f"{process.name()} {' '.join(process.cmdline())}"
                kind = next((kind for part, kind in _KINDS.items() if part in line), None)
                if kind is not None:
                    found[kind] += sum(process.cpu_times()[:2])
        return found


@pytest.fixture
def farm(tmp_path: Path) -> Iterator[Farm]:
    names = ("hub", "qpu", "a", "b")
    with network(tmp_path, names) as hosts, postgresql_on(hosts["hub"], "on") as database_url:
        hub, qpu = hosts["hub"], hosts["qpu"]
        broker_url = broker_on(hub)
        wait_for(lambda: answers(database_url, broker_url), "database and broker", 60)
        migrations.upgrade(database_url)
        at = (f"--host={qpu.address}", f"--token={TOKEN}", "--keep=100000", f"--state={tmp_path / 'qpu.db'}")
        with Emulator(f"--solver={CHIP}", *at, samples="instant", within=qpu.within) as emulator:
            told = {
                "ANNEALQ_DATABASE_URL": database_url,
                "ANNEALQ_BROKER_URL": broker_url,
                "ANNEALQ_EMULATOR_URL": emulator.endpoint,
                "ANNEALQ_EMULATOR_TOKEN": TOKEN,
                "ANNEALQ_HOME": str(tmp_path),
            }
            for _ in range(2):
                hub.start([sys.executable, "-m", "worker.reconcile"], told)
            database = Database(database_url)
            settings = load(home=tmp_path, database_url=database_url, broker_url=broker_url)
            yield Farm(Night(cast(Any, Machines(hosts)), settings, database, emulator), hosts, told)
            database.dispose()


def test_many_workers(record: Record, farm: Farm) -> None:
    alone = 0.0
    for workers in WORKERS:
        start_workers(farm, workers)
        classify(farm, IMAGES)  # they load the network, and search for the embedding
        taken = [measured(farm) for _ in range(RUNS)]
        costs = [sum(each.cost_us.values()) for each in taken]
        among = f"{workers} workers, PostgreSQL"
        record(f"processor time of an image, {among}", statistics.median(costs), "us", spread=costs)
        alone = alone or statistics.median(costs)
        more = 100 * (statistics.median(costs) / alone - 1)
        record(f"the same against one worker, {among}", more, "%", at_least=False)
        for kind in _KINDS.values():
            parts = [each.cost_us[kind] for each in taken]
            record(f"of it {kind}, {among}", statistics.median(parts), "us", spread=parts)
        rates = [each.rate for each in taken]
        record(f"images in a second, {among}", statistics.median(rates), "images/s", spread=rates)
        seen = sum((each.seen for each in taken), Counter[str]())
        for what, count in seen.most_common(6):
            record(f"busy connections: {what}, {among}", 100 * count / seen.total(), "%")
        locked = sum(count for what, count in seen.items() if what.startswith("Lock:"))
        share = 100 * locked / max(seen.total(), 1)
        record(f"busy connections that wait for a lock, {among}", share, "%", 5, at_least=False)


@dataclass(frozen=True)
class Measured:
    """A run: microseconds of an image by kind of process, images in a second, what connections did."""

    cost_us: Counter[str]
    rate: float
    seen: Counter[str]


def start_workers(farm: Farm, count: int) -> None:
    """Start workers of one process each, on two hosts in turns, until there are ``count``."""
    running = sum(len(farm.hosts[name].processes) for name in "ab")
    for number in range(running, count):
        host = farm.hosts["ab"[number % 2]]
        host.start([*worker_command(1, queue_names()), "-n", f"w{number}@{host.address}"], farm.told)


def measured(farm: Farm) -> Measured:
    before, started = farm.cpu_s(), time.monotonic()
    with watching(farm.told["ANNEALQ_DATABASE_URL"]) as seen:
        classify(farm, IMAGES)
    took_s, after = time.monotonic() - started, farm.cpu_s()
    costs = Counter({kind: 1e6 * (after[kind] - before[kind]) / IMAGES for kind in after})
    return Measured(costs, IMAGES / took_s, seen)


_SEEDS = count_up()


def classify(farm: Farm, images: int) -> None:
    """Classify so many images in batches of half a problem of the chip."""
    night, seed = farm.night, next(_SEEDS)
    found = mnist(images, 1000 * seed)
    network_ = choose.get_or_install_network(night.database, found, "mnist")
    parameters = Parameters(reads=10, visible=Visible.FOLDED, seed=seed)
    options = RunOptions(batch_size=BATCH)
    run = enqueue_run(night.database, found, network_, Solver.EMULATOR, parameters, options).id
    hints.send(night.settings.broker_url, Message(Task.DISPATCH))
    night.finish(run, 900)


@contextmanager
def watching(url: str) -> Iterator[Counter[str]]:
    """Count what the busy connections of the server do, every 20 ms, until the block ends."""
    seen: Counter[str] = Counter()
    stop = threading.Event()
    engine = create_engine(url, isolation_level="AUTOCOMMIT")

    def watch() -> None:
        with engine.connect() as connection:
            while not stop.wait(0.02):
                seen.update(connection.execute(_ACTIVITY).scalars())

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield seen
    finally:
        stop.set()
        thread.join()
        engine.dispose()
