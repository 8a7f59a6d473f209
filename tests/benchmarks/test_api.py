"""Figures of the HTTP API: a server process, and its clients in this one, on the same processors."""

from __future__ import annotations

import asyncio
import http.client
import io
import os
import re
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import psutil
import pytest

import migrations
from producer.api.keys import local_token
from producer.client import Client
from schema.states import RunState
from tests.benchmarks.conftest import Record
from tests.conftest import ROOT

pytestmark = [pytest.mark.bench, pytest.mark.timeout(900)]

_BOUNDARY = "-----annealq"


@dataclass(frozen=True)
class Served:
    """A server process: host and port, and what it has cost so far."""

    address: str
    started: psutil.Process
    token: str

    def cpu_ms(self) -> float:
        """Processor time, which other programs on the machine change less than they change waiting times."""
        used = self.started.cpu_times()
        return 1000 * (used.user + used.system)


@contextmanager
def process(*arguments: str, env: dict[str, str], says: str, log: Path) -> Iterator[tuple[str, int]]:
    """A command that runs for the length of the block; yields what it said when it was ready, and its id."""
    with log.open("w") as file:
        command = [sys.executable, "-m", "producer.cli", *arguments]
        started = subprocess.Popen(command, cwd=ROOT, stdout=file, stderr=file, env={**os.environ, **env})
    try:
        deadline = time.monotonic() + 60
        while says not in log.read_text():
            assert started.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
        yield log.read_text(), started.pid
    finally:
        started.terminate()
        started.wait(30)


@contextmanager
def served(env: dict[str, str], log: Path) -> Iterator[Served]:
    """The API in a process of its own."""
    with process("serve", "--port", "0", env=env, says="serves at", log=log) as (said, pid):
        found = re.search(r"serves at (http://[^;]+);", said)
        assert found is not None
        token = local_token.read_or_create(Path(env["ANNEALQ_HOME"]))
        yield Served(urlsplit(found[1]).netloc, psutil.Process(pid), token)


def percentile(values: Sequence[float], percent: int) -> float:
    return statistics.quantiles(values, n=100)[percent - 1]


def mnist_like(count: int, seed: int) -> bytes:
    """(count, 28, 28) uint8 as .npy."""
    file = io.BytesIO()
    np.save(file, np.random.default_rng(seed).integers(0, 256, (count, 28, 28), dtype=np.uint8))
    return file.getvalue()


def post(connection: http.client.HTTPConnection, token: str, data: bytes) -> float:
    """Send images as a form; milliseconds until the run is committed and answered."""
    head = (
        f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="images"; filename="a.npy"\r\n'
        "Content-Type: application/octet-stream\r\n\r\n"
    )
    body = head.encode() + data + f"\r\n--{_BOUNDARY}--\r\n".encode()
    start = time.perf_counter()
    kind = {
        "Content-Type": f"multipart/form-data; boundary={_BOUNDARY}",
        "Authorization": f"Bearer {token}",
    }
    connection.request("POST", "/v1/runs", body, kind)
    answer = connection.getresponse()
    said = answer.read()
    assert answer.status == 202, said
    return 1000 * (time.perf_counter() - start)


def submissions(server: Served, clients: int, each: int, every_s: float) -> list[float]:
    """Milliseconds of every submission of so many clients, each sending one every so many seconds."""
    times: list[float] = []

    def send(number: int) -> None:
        connection = http.client.HTTPConnection(server.address, timeout=60)
        bodies = [mnist_like(100, 1000 * number + k) for k in range(each)]
        barrier.wait()
        time.sleep(every_s * number / clients)
        begin = time.perf_counter()
        for k, body in enumerate(bodies):
            time.sleep(max(begin + k * every_s - time.perf_counter(), 0))
            times.append(post(connection, server.token, body))
        connection.close()

    barrier = threading.Barrier(clients)
    threads = [threading.Thread(target=send, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return times


@pytest.mark.parametrize("kind", ["SQLite", "PostgreSQL"])
def test_submissions(record: Record, tmp_path: Path, kind: str, request: pytest.FixtureRequest) -> None:
    if kind == "SQLite":
        url = f"sqlite:///{tmp_path / 'annealq.db'}"
        migrations.upgrade(url)
    else:
        _, url = request.getfixturevalue("own_server")
    env = {"ANNEALQ_HOME": str(tmp_path / "home"), "ANNEALQ_DATABASE_URL": url}
    with served(env, tmp_path / "log") as server:
        submissions(server, 2, 5, 0.0)  # the network is installed
        before = server.cpu_ms()
        paced = submissions(server, 8, 30, 0.5)
        cost = (server.cpu_ms() - before) / len(paced)
        start = time.perf_counter()
        pressed = submissions(server, 8, 25, 0.0)
        rate = len(pressed) / (time.perf_counter() - start)
    what = f"submit 100 MNIST images, {kind}, 8 clients"
    record(f"{what}, 16 a second, p50", percentile(paced, 50), "ms")
    record(f"{what}, 16 a second, p95", percentile(paced, 95), "ms", 50, at_least=False)
    record(f"{what}, processor time of the server for each", cost, "ms")
    record(f"{what}, without a pause, p95", percentile(pressed, 95), "ms")
    record(f"{what}, without a pause", rate, "runs/s")


def test_one_image_through_an_idle_stack(record: Record, tmp_path: Path) -> None:
    env = {"ANNEALQ_HOME": str(tmp_path / "home")}
    image = np.random.default_rng(0).integers(0, 17, (1, 8, 8), dtype=np.uint8)
    times = []
    with (
        process("up", env=env, says="annealq is up", log=tmp_path / "up"),
        served(env, tmp_path / "log") as server,
        Client(f"http://{server.address}", server.token) as client,
    ):
        for seed in range(43):
            start = time.perf_counter()
            run = client.submit(image, network="digits", seed=seed)
            last = list(client.events(run))[-1]
            found = list(client.results(run))
            times.append(1000 * (time.perf_counter() - start))
            assert last.state == RunState.DONE
            assert len(found) == 1
            time.sleep(0.2)
    record("one image, from POST to its result, p50", percentile(times[3:], 50), "ms", 250, at_least=False)
    record("one image, from POST to its result, p95", percentile(times[3:], 95), "ms")


@pytest.mark.slow
def test_a_thousand_readers(record: Record, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'annealq.db'}"
    migrations.upgrade(url)
    env = {"ANNEALQ_HOME": str(tmp_path / "home"), "ANNEALQ_DATABASE_URL": url}
    with served(env, tmp_path / "log") as server:
        submissions(server, 2, 5, 0.0)
        before = server.cpu_ms()
        times, errors = asyncio.run(readers(server, 1_000, every_s=5.0, seconds=60.0))
        cost = (server.cpu_ms() - before) / len(times)
    record("1,000 readers of a run's state, each every 5 s, for 60 s: errors", errors, "", 0, at_least=False)
    record("the same, p50", percentile(times, 50), "ms")
    record("the same, p99", percentile(times, 99), "ms", 250, at_least=False)
    record("the same, processor time of the server for each", cost, "ms")


async def readers(server: Served, count: int, every_s: float, seconds: float) -> tuple[list[float], int]:
    """Milliseconds of all answers, and how many were none, for connections that stay open."""
    host, _, port = server.address.partition(":")
    times: list[float] = []
    errors = 0
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds + every_s

    async def read(number: int) -> None:
        nonlocal errors
        await asyncio.sleep(every_s * number / count)
        into, out = await asyncio.open_connection(host, int(port))
        head = f"GET /v1/runs/{1 + number % 10} HTTP/1.1\r\nHost: {server.address}\r\n"
        request = f"{head}Authorization: Bearer {server.token}\r\n\r\n".encode()
        due = loop.time()
        while due < end:
            await asyncio.sleep(max(due - loop.time(), 0))
            start = time.perf_counter()
            try:
                out.write(request)
                head = await asyncio.wait_for(into.readuntil(b"\r\n\r\n"), 30)
                length = re.search(rb"content-length: (\d+)", head)
                await into.readexactly(int(length[1]) if length else 0)
            except (OSError, asyncio.IncompleteReadError, TimeoutError):
                errors += 1
                return
            errors += not head.startswith(b"HTTP/1.1 200")
            times.append(1000 * (time.perf_counter() - start))
            due += every_s
        out.close()

    await asyncio.gather(*(read(number) for number in range(count)))
    return times, errors
