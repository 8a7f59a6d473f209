"""Workers that run for a long time: their memory must not grow.

    ANNEALQ_BENCH_SOAK_MINUTES=20 python -m pytest -m bench -s tests/benchmarks/test_soak.py

Two workers classify run after run, on an emulator and on this machine in turns. Their resident memory,
parents and children together, is measured every second after the first runs.
"""

from __future__ import annotations

import os
import statistics
import time
from contextlib import suppress
from itertools import count
from pathlib import Path

import psutil
import pytest

from schema.parameters import Parameters, Solver
from tests.acceptance.night import PARAMETERS, Night, lasting_emulator, night
from tests.benchmarks.conftest import Record

MINUTES = float(os.environ.get("ANNEALQ_BENCH_SOAK_MINUTES", "20"))

pytestmark = [pytest.mark.bench, pytest.mark.slow, pytest.mark.timeout(MINUTES * 60 + 600)]

SOLVERS = ((Solver.EMULATOR, PARAMETERS), (Solver.LOCAL, Parameters(reads=50)))
WARM_UP = 4  # runs


def resident_mb(at: Night) -> float:
    """Memory of the workers, parents and children."""
    total = 0
    for process in (*at.processes()["worker"], *at.processes()["pool"]):
        with suppress(psutil.NoSuchProcess):
            total += process.memory_info().rss
    return total / 1e6


def classify(at: Night, ordinal: int, measured: list[float]) -> None:
    """One run to its end, and the memory meanwhile."""
    solver, parameters = SOLVERS[ordinal % 2]
    run = at.enqueue(400, batch_size=20, seed=ordinal, solver=solver, parameters=parameters)
    while not at.is_finished(run):
        measured.append(resident_mb(at))
        time.sleep(1)
    at.finish(run)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_memory_stays_what_it_was(record: Record, database_url: str, tmp_path: Path) -> None:
    measured: list[float] = []
    with (
        lasting_emulator(tmp_path) as emulator,
        night(tmp_path / "home", database_url, emulator, workers=2) as at,
    ):
        for ordinal in range(WARM_UP):
            classify(at, ordinal, [])
        processes = sorted(process.pid for process in at.processes()["pool"])
        until = time.monotonic() + 60 * MINUTES
        for ordinal in count(WARM_UP):
            classify(at, ordinal, measured)
            if time.monotonic() > until:
                break
        assert sorted(process.pid for process in at.processes()["pool"]) == processes, "a worker died"
    quarter = len(measured) // 4
    first, last = statistics.median(measured[:quarter]), statistics.median(measured[-quarter:])
    record(f"runs in a soak of {MINUTES:g} minutes", ordinal + 1, "runs")
    record("memory of two workers, median of its first quarter", first, "MB")
    record("the same, last quarter against the first", 100 * (last / first - 1), "%", 5, at_least=False)
