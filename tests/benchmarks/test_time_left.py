"""How well progress foretells the end of a run, from a tenth of its images on.

The worst and the median error of the time left are shares of the time that was really left, two seconds at
least, for three runs: local, on a QPU with a real clock, and there in one batch.
"""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from statistics import median

import pytest
from sqlalchemy import func, select

from producer.progress.stages import progress_of
from schema.parameters import Parameters, Solver, Visible
from schema.tables import Run
from tests.benchmarks.conftest import Record
from tests.benchmarks.plant import Plant, mnist, plant

pytestmark = [pytest.mark.bench, pytest.mark.slow, pytest.mark.timeout(1800)]

FOLDED = Parameters(reads=200, tiles=20, visible=Visible.FOLDED, annealing_time_us=1000.0, qpu="a")
LAST_S = 2.0
SMALL = "a=pegasus:6:6:10"

Forecast = tuple[datetime, float]


def watch(made: Plant, run: int, found: list[Forecast], stop: threading.Event) -> None:
    while not stop.wait(0.2):
        with made.database.reading() as session:
            if session.get(Run, run) is None:
                continue
            now = made.database.now(session)
            progress = progress_of(session, run, now)
        if progress.sampled >= 0.1 * progress.images and (left_s := progress.left_s(now)) is not None:
            found.append((now, left_s))


def errors(made: Plant, parameters: Parameters, solver: Solver, images: int, batch_size: int) -> list[float]:
    """Return the share by which each forecast of one run was wrong."""
    with made.database.reading() as session:
        run = (session.execute(select(func.max(Run.id))).scalar() or 0) + 1
    forecasts: list[Forecast] = []
    stop = threading.Event()
    watching = threading.Thread(target=watch, args=(made, run, forecasts, stop))
    watching.start()
    try:
        taken = made.classify(mnist(images), parameters, solver, batch_size)
    finally:
        time.sleep(0.3)
        stop.set()
        watching.join()
    assert taken.run == run
    with made.database.reading() as session:
        ended_at = session.get_one(Run, run).finished_at
    assert ended_at is not None
    left = [((ended_at - at).total_seconds(), left_s) for at, left_s in forecasts]
    return [abs(said - true) / max(true, LAST_S) for true, said in left]


def test_time_left(record: Record, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with plant(tmp_path / "home", monkeypatch, clock="real", solvers=(SMALL,)) as made:
        made.classify(mnist(100), replace(FOLDED), batch_size=100)  # finds the embedding
        runs = {
            "local annealer": (Parameters(reads=100), Solver.LOCAL, 4000, 100),
            "QPU, real clock": (FOLDED, Solver.EMULATOR, 1600, 160),
            "QPU, one batch": (FOLDED, Solver.EMULATOR, 800, 800),
        }
        for name, (parameters, solver, images, batch_size) in runs.items():
            wrong = errors(made, parameters, solver, images, batch_size)
            assert wrong, name
            record(f"error of the time left, worst: {name}", 100 * max(wrong), "%", 20, at_least=False)
            record(f"error of the time left, median: {name}", 100 * median(wrong), "%", spread=wrong)
