"""How fast `/healthz` and `GET /v1/runs` are while the API is attacked, and how much memory it takes.

Eight kinds of attack, each for 15 s with a server of its own; ANNEALQ_TEST_ATTACK_S=60 is the minute that the
goal names. The attackers, a process that asks and the server share the processors; `nothing` is the same
without an attack. Energy histograms are asked of a run that was worked off, and tabs follow a run of which a
batch ends every half second. Goals: p99 of both at most 250 ms; at most 1 GB of memory.
"""

from __future__ import annotations

import contextlib
import io
import multiprocessing
import os
import random
import re
import shutil
import socket
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import psutil
import pytest
from PIL import Image

import migrations
from producer.api.keys import local_token
from producer.networks.choose import get_or_install_network
from producer.runs.enqueue import RunOptions, enqueue_run
from schema.database import Database
from schema.messages import Message, Task
from schema.parameters import Parameters, Solver
from schema.settings.worker import WorkerSettings
from tests.benchmarks.conftest import Record
from tests.benchmarks.targets import Target, ask
from tests.benchmarks.test_api import percentile, process
from tests.benchmarks.test_pages import fill, finish_batch, seen
from tests.integration.conftest import Outbox, some_images, work_off
from worker.context import Context

pytestmark = [pytest.mark.bench, pytest.mark.slow, pytest.mark.timeout(900)]

_CONTEXT = multiprocessing.get_context("spawn")
_FINISHED, _SCORED = 300, 850  # images of the finished run; batches of the live one that have ended
SECONDS = float(os.environ.get("ANNEALQ_TEST_ATTACK_S", "15"))
_JSON = {"Content-Type": "application/json"}


def nothing(_target: Target) -> None:
    pass


def strangers_with_huge_bodies(target: Target) -> None:
    target.request("POST", f"/v1/runs/{target.live}/resume", b"[" * 8_000_000, Authorization="", **_JSON)


def energy_histograms(target: Target) -> None:
    target.request("GET", f"/runs/{target.finished}/images/{random.randrange(_FINISHED)}/energies.svg")


def checks_with_a_silent_broker(target: Target) -> None:
    target.request("GET", "/readyz", Authorization="")


def writers_of_a_locked_database(target: Target) -> None:
    target.request("POST", f"/v1/runs/{target.live}/pause")


def tabs_on_a_live_run(target: Target) -> None:
    _, page = target.exchange("GET", f"/runs/{target.live}")
    for _ in range(20):
        status, update = target.exchange("GET", f"/runs/{target.live}/parts?seen={seen(page)}")
        if not status:
            return
        page = update if status == 200 else page


def silent_and_slow_connections(target: Target) -> None:
    with contextlib.suppress(OSError), socket.create_connection((target.host, target.port), 5) as connection:
        connection.sendall(b"GET /v1/runs HTTP/1.1\r\nX: ")
        while True:  # until the server closes it
            time.sleep(0.5)
            connection.sendall(b"x")


def bombs(target: Target) -> None:
    target.form(*random.choice(_BOMBS))


def json_numbers(target: Target) -> None:
    target.request("POST", "/v1/runs", b'{"images": [' + b"[]," * 5_000_000 + b"[]]}", **_JSON)


def _bombs() -> list[tuple[str, bytes]]:
    npz, png = io.BytesIO(), io.BytesIO()
    np.savez_compressed(npz, images=np.zeros((8_000_000, 8, 8), np.uint8))
    Image.new("RGBA", (4_000, 4_000)).save(png, "PNG")
    return [("a.npz", npz.getvalue()), ("a.png", png.getvalue())]


_BOMBS: list[tuple[str, bytes]] = []
ATTACKS: dict[Callable[[Target], None], int] = {
    nothing: 0,
    strangers_with_huge_bodies: 4,
    energy_histograms: 24,
    checks_with_a_silent_broker: 40,
    writers_of_a_locked_database: 10,
    tabs_on_a_live_run: 10,
    silent_and_slow_connections: 1_500,
    bombs: 4,
    json_numbers: 4,
}
"""Each with the number of those who attack at a time."""


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int, int]:
    """Write a database; return it, and the numbers of its finished and of its live run."""
    path = tmp_path_factory.mktemp("attacks") / "annealq.db"
    migrations.upgrade(f"sqlite:///{path}")
    database = Database(f"sqlite:///{path}")
    images = some_images(_FINISHED)
    network = get_or_install_network(database, images, "digits")
    finished = enqueue_run(database, images, network, Solver.LOCAL, Parameters(reads=10), RunOptions()).id
    work_off(Context(database, WorkerSettings(), Outbox()), Message(Task.DISPATCH))
    with database.transaction() as session:
        live = fill(session, database.now(session), scored=_SCORED)
    database.dispose()
    return path, finished, live


@contextlib.contextmanager
def attacked(tmp_path: Path, written: tuple[Path, int, int]) -> Iterator[tuple[Target, psutil.Process]]:
    """Serve a copy of what was ``written``, with a broker that accepts connections and says nothing."""
    home, database = tmp_path / "home", tmp_path / "annealq.db"
    original, finished, live = written
    shutil.copy(original, database)
    url = f"sqlite:///{database}"
    with socket.create_server(("127.0.0.1", 0), backlog=1_000) as broker:
        env = {
            "ANNEALQ_HOME": str(home),
            "ANNEALQ_DATABASE_URL": url,
            "ANNEALQ_BROKER_URL": f"redis://127.0.0.1:{broker.getsockname()[1]}/0",
        }
        with process("serve", "--port", "0", env=env, says="serves at", log=tmp_path / "log") as (said, pid):
            found = re.search(r"serves at (http://[^;]+);", said)
            assert found is not None
            address = urlsplit(found[1])
            token = local_token.read_or_create(home)
            target = Target(address.hostname or "", address.port or 0, token, finished, live, database)
            yield target, psutil.Process(pid)


def repeats(target: Target, attack: Callable[[Target], None], stop: threading.Event) -> None:
    while not stop.is_set():
        attack(target)


def finish_batches(target: Target, stop: threading.Event) -> None:
    """Score a batch of the live run every half second, as a worker does."""
    database = Database(f"sqlite:///{target.database}")
    for ordinal in range(_SCORED, 1_000):
        if stop.wait(0.5):
            break
        finish_batch(database, target.live, ordinal)
    database.dispose()


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.__name__)
def test_an_attack(
    record: Record, tmp_path: Path, written: tuple[Path, int, int], attack: Callable[[Target], None]
) -> None:
    _BOMBS[:] = _BOMBS or _bombs()
    with attacked(tmp_path, written) as (target, server), contextlib.ExitStack() as stack:
        for path in ("/healthz", "/v1/runs", f"/runs/{target.live}"):  # routes and templates are prepared
            assert target.request("GET", path) == 200
        if attack is writers_of_a_locked_database:
            lock = stack.enter_context(contextlib.closing(sqlite3.connect(target.database)))
            lock.execute("BEGIN IMMEDIATE")
        stop = threading.Event()
        if attack is tabs_on_a_live_run:
            threading.Thread(target=finish_batches, args=(target, stop), daemon=True).start()
        for _ in range(ATTACKS[attack]):
            threading.Thread(target=repeats, args=(target, attack, stop), daemon=True).start()
        answers, out = _CONTEXT.Pipe(duplex=False)
        asking = _CONTEXT.Process(target=ask, args=(target, SECONDS, out))
        asking.start()
        target.answers.clear()
        most = 0
        while not answers.poll(0.1) and asking.is_alive():
            most = max(most, server.memory_info().rss)
        times = answers.recv()
        answered = Counter(target.answers)  # those that the end of the server interrupts do not count
        stop.set()
        asking.join()
    name = attack.__name__.replace("_", " ")
    for path, found in times.items():
        record(f"{name}: {path} p99", percentile(found, 99), "ms", 250, at_least=False)
    record(f"{name}: memory of the API", most / 1e6, "MB", 1_000, at_least=False)
    for status, count in sorted(answered.items()):
        record(f"{name}: attackers answered {status or 'nothing'}", count, "")
