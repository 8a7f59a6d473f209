"""Figures of the client for Python: its import, and its overhead for each request."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from pathlib import Path

import pytest

import migrations
from producer.client import Client
from tests.benchmarks.conftest import Record
from tests.conftest import ROOT
from tests.serving import THIS_MACHINE, client, serving

pytestmark = [pytest.mark.bench, pytest.mark.timeout(300)]

_IMPORT = """
import sys, time
start = time.perf_counter()
import producer.client
imported = time.perf_counter()
producer.client.Client("http://127.0.0.1:1").close()
made = time.perf_counter()
print(imported - start, made - imported)
"""


def test_import(record: Record) -> None:
    """Cost: a first client imports httpx; numpy is imported with the first array."""
    command = [sys.executable, "-c", _IMPORT]
    times = [
        tuple(
            map(
                float,
                subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split(),
            )
        )
        for _ in range(11)
    ]
    imports, first_clients = zip(*times, strict=True)
    record("import of the client", 1000 * statistics.median(imports), "ms", 200, at_least=False)
    record("first client, with the import of httpx", 1000 * statistics.median(first_clients), "ms")


def test_overhead(record: Record, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'annealq.db'}"
    migrations.upgrade(url)
    with serving(url) as address, client(address) as plain, Client(address, THIS_MACHINE) as annealq:
        medians = []
        for ask in (lambda: plain.get("/v1/networks").json(), annealq.networks):
            times = []
            for _ in range(300):
                start = time.perf_counter()
                ask()
                times.append(1000 * (time.perf_counter() - start))
            medians.append(statistics.median(times))
    record("a request by httpx alone, p50", medians[0], "ms")
    record("the same by the client, p50", medians[1], "ms")
