"""Cost of the emulator for full-chip problems: 5,000 qubits, 12,816 couplers, 100 reads.

A problem of this size carries 30 images of 167 qubits. Run:

    python -m pytest -m bench -s tests/benchmarks/test_emulator.py

Measured with other work on both cores (load 5; alone it is less), processor time of the emulator for a
problem, from request to answer: annealed (32 sweeps, its default) 304 ms, instant 15 ms. The 99th percentile
of a response meanwhile: 18 ms and 34 ms.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import psutil
import pytest
import requests

from tests.benchmarks.conftest import Record
from tests.emulators import TOKEN, Emulator, base64_of

pytestmark = pytest.mark.bench

QUBITS, READS, PROBLEMS = 5000, 100, 20
SOLVER = "emulator-pegasus"


class Load:
    """Problems on the same qubits and couplers that differ in h, as those of a run do."""

    def __init__(self, emulator: Emulator) -> None:
        definition = emulator.properties(SOLVER)
        self.identity = definition["identity"]
        qubits, couplers = (np.array(definition["properties"][name]) for name in ("qubits", "couplers"))
        random = np.random.default_rng(0)
        used = np.isin(qubits, random.permutation(qubits)[:QUBITS])
        usable = np.count_nonzero(used[np.searchsorted(qubits, couplers)].all(axis=1))
        self.J = random.normal(0, 0.3, usable) * (random.random(usable) < 0.4)
        self.h = [np.where(used, random.normal(0, 0.3, len(qubits)), np.nan) for _ in range(PROBLEMS)]

    def jobs(self) -> list[dict[str, Any]]:
        return [
            {
                "solver": self.identity,
                "type": "ising",
                "data": {"format": "qp", "lin": base64_of(h), "quad": base64_of(self.J)},
                "params": {"num_reads": READS, "answer_mode": "raw"},
            }
            for h in self.h
        ]


@pytest.fixture(params=["annealed", "instant"])
def samples(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def emulator(samples: str) -> Iterator[Emulator]:
    with Emulator(f"--solver={SOLVER}", samples=samples) as running:
        yield running


def _drain(emulator: Emulator, jobs: list[dict[str, Any]]) -> float:
    """Submit, wait, fetch all answers; processor milliseconds of the emulator for each problem."""
    process = psutil.Process(emulator.process.pid)
    before = sum(process.cpu_times()[:2])
    for problem in emulator.post(jobs).json():
        while emulator.get(f"problems/?id={problem['id']}&timeout=30").json()[0]["status"] != "COMPLETED":
            pass
        assert emulator.get(f"problems/{problem['id']}/").status_code == 200
    return 1e3 * (sum(process.cpu_times()[:2]) - before) / len(jobs)


def _longest_reply_ms(emulator: Emulator, stop: threading.Event, replies: list[float]) -> None:
    with requests.Session() as session:
        while not stop.wait(0.02):
            started = time.perf_counter()
            session.get(emulator.endpoint + "problems/?max_results=1", headers={"X-Auth-Token": TOKEN})
            replies.append(1e3 * (time.perf_counter() - started))


def test_processor_time_of_a_full_chip(emulator: Emulator, samples: str, record: Record) -> None:
    ours = _drain(emulator, Load(emulator).jobs())
    record(f"emulator, {samples}: processor time, full chip", ours, "ms", at_least=False)


def test_replies_while_it_samples(emulator: Emulator, samples: str, record: Record) -> None:
    jobs, stop, replies = Load(emulator).jobs(), threading.Event(), list[float]()
    asking = threading.Thread(target=_longest_reply_ms, args=(emulator, stop, replies))
    asking.start()
    _drain(emulator, jobs)
    stop.set()
    asking.join()
    record(f"emulator, {samples}: p99 of a reply meanwhile", float(np.quantile(replies, 0.99)), "ms")
