"""Figures of the whole system, through the real command line, broker, workers and database.

An image with 100 reads of the 50-unit network costs the local annealer about 3 ms of one core. The share of
everything else (queue, database, features, scoring) is printed.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import insert

import migrations
from producer.images.imageset import ImageSet
from producer.networks.choose import choose_network
from producer.runs.enqueue import enqueue_run
from schema.database import Database
from schema.network.architecture import preset
from schema.parameters import Parameters, Solver
from schema.shapes import ImageShape
from schema.tables import Network
from tests.benchmarks.conftest import Record
from tests.conftest import annealq_process, data_file
from tests.integration.conftest import network_row

pytestmark = [pytest.mark.bench, pytest.mark.timeout(1800)]


def run(*arguments: str, env: dict[str, str]) -> tuple[dict[str, Any], float]:
    start = time.perf_counter()
    done = annealq_process(*arguments, "--json", env=env, timeout=1500)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), time.perf_counter() - start


@pytest.mark.slow
def test_demo(record: Record, tmp_path: Path) -> None:
    env = {"ANNEALQ_HOME": str(tmp_path / "home")}
    start = time.perf_counter()
    first = annealq_process("demo", env=env, timeout=600)
    first_s = time.perf_counter() - start
    assert first.returncode == 0, first.stderr
    start = time.perf_counter()
    again = annealq_process("demo", env=env, timeout=600)
    again_s = time.perf_counter() - start
    unseen = float(again.stderr.split("not trained on: ")[1].split("%")[0])
    shown, _ = run("runs", "show", "1", env=env)
    record("digits, all 1,797", 100 * shown["accuracy"], "%")
    record("digits, the 797 not trained on", unseen, "%", 96)
    record("demo, first time after the installation", first_s, "s", 300, at_least=False)
    record("demo, second time", again_s, "s", 60, at_least=False)


@pytest.mark.slow
def test_mnist(record: Record, tmp_path: Path) -> None:
    env = {"ANNEALQ_HOME": str(tmp_path / "home")}
    test = str(data_file("mnist_test.npz"))
    command = ("networks", "train", "mnist", "--data", str(data_file("mnist_train.npz")), "--embedded")
    _, training_s = run(*command, env=env)
    shown, _ = run("classify", test, "--embedded", env=env)
    figures = shown["statistics"]
    record("mnist, 10,000 test images, 100 reads", 100 * shown["accuracy"], "%", 97.5)
    record("mnist, training on 60,000 images", training_s, "s", 300, at_least=False)
    record("mnist, local annealer, all cores", figures["images_per_second"], "images/s")
    busy = figures["sampling_seconds"] / (2 * figures["elapsed_seconds"])
    record("mnist, share of two workers' time inside the annealer", 100 * busy, "%")


def test_two_workers_against_one(record: Record, tmp_path: Path) -> None:
    env = {"ANNEALQ_HOME": str(tmp_path / "home")}
    run("networks", "train", "digits", "--data", "sklearn:digits", "--epochs", "3", "--embedded", env=env)
    command = ("classify", "sklearn:digits", "--batch-size", "50", "--sweeps", "150", "--embedded")
    rates: dict[int, list[float]] = {1: [], 2: []}
    for _ in range(5):
        for workers, measured in rates.items():
            shown, _ = run(*command, "--workers", str(workers), env=env)
            measured.append(shown["statistics"]["images_per_second"])
    ratios = [two / one for one, two in zip(rates[1], rates[2], strict=True)]
    record("two workers against one, local annealer", statistics.median(ratios), "x", 1.7)


def test_enqueue(record: Record, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'annealq.db'}"
    migrations.upgrade(url)
    database = Database(url)
    mnist = preset("mnist")
    row = network_row() | {
        "name": "mnist",
        "architecture": mnist.to_dict(),
        "shape": "28x28",
        "dtype": "uint8",
    }
    with database.transaction() as session:
        session.execute(insert(Network).values(row))
        network = choose_network(session, "mnist", ImageShape.image(28, 28))
    rng = np.random.default_rng(0)
    images = ImageSet(
        "random",
        rng.integers(0, 256, (10_000, 28, 28), dtype=np.uint8),
        rng.integers(0, 10, 10_000),
        None,
        None,
    )
    times = []
    for seed in range(5):
        start = time.perf_counter()
        enqueue_run(database, images, network, Solver.LOCAL, Parameters(seed=seed))
        times.append(time.perf_counter() - start)
    database.dispose()
    record("enqueue 10,000 MNIST images, SQLite", statistics.median(times), "s", 1, at_least=False)


def test_help(record: Record) -> None:
    def seconds() -> float:
        start = time.perf_counter()
        subprocess.run([Path(sys.executable).with_name("annealq"), "--help"], check=True, capture_output=True)
        return time.perf_counter() - start

    record("annealq --help", statistics.median(seconds() for _ in range(9)), "s", 0.5, at_least=False)
