"""SIGTERM to a worker and Ctrl-C to its owner: it ends within seconds and requeues its work for the next one.

Leases are long here, so a batch that is claimed again was requeued; its lease did not expire.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from sqlalchemy import func, select

from producer.networks.training import enqueue_training
from producer.runs import hints
from schema.messages import Message, Task
from schema.network.architecture import preset
from schema.parameters import Parameters, Solver
from schema.states import BatchState, NetworkState
from schema.tables import Batch, Event, Network, Problem
from tests.acceptance.conftest import QUICK, running_stack, stored, wait_for
from tests.acceptance.night import PARAMETERS, Night, lasting_emulator, night
from tests.conftest import ROOT, annealq_process
from tests.integration.conftest import some_images

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

LONG = {"ANNEALQ_WORKER_LEASE_S": "300", "ANNEALQ_WORKER_SOLVER_TIMEOUT_S": "10"}
ENDS_S = 5.0
# A quarter of a second for an image on a quiet machine, 12 s for a batch.
SLOWLY = Parameters(reads=100, sweeps=8_000)


def stop_worker(at: Night) -> float:
    """SIGTERM to the worker; seconds until it and its child have ended."""
    (worker,) = at.processes()["worker"]
    family = [worker, *worker.children(recursive=True)]
    started = time.monotonic()
    worker.terminate()
    _, alive = psutil.wait_procs(family, timeout=30)
    assert not alive, "the worker does not end"
    return time.monotonic() - started


def moves(at: Night, subject: str) -> list[tuple[str, str, str | None]]:
    with at.database.reading() as session:
        query = select(Event.source, Event.target, Event.why).where(Event.subject == subject)
        return [tuple(row) for row in session.execute(query.order_by(Event.id))]


def is_held(at: Night) -> bool:
    """Whether a worker holds a batch."""
    with at.database.reading() as session:
        query = select(Batch.id).where(Batch.state == BatchState.SAMPLING)
        return session.execute(query).first() is not None


def has_an_epoch(at: Night, network: int) -> bool:
    """Whether a network is being trained, and the first pass over its images is over."""
    with at.database.reading() as session:
        query = select(Network.metrics).where(Network.id == network, Network.state == NetworkState.TRAINING)
        return session.execute(query).scalar() is not None


def test_a_batch_on_a_slow_solver_is_handed_back_and_collected(database_url: str, tmp_path: Path) -> None:
    reads = Parameters(**{**PARAMETERS.to_dict(), "reads": 4_000})
    with (
        lasting_emulator(tmp_path) as emulator,
        night(tmp_path / "home", database_url, emulator, workers=1, env=LONG) as at,
    ):
        run = at.enqueue(16, batch_size=16, parameters=reads)
        wait_for(lambda: at.answered() >= 1, "the first answer")
        assert stop_worker(at) <= ENDS_S
        assert ("sampling", "pending", "the worker was stopped") in moves(at, "batches")
        figures = at.finish(run)
        at.assert_every_image_once(run)
        at.assert_books_agree()
        with at.database.reading() as session:
            assert session.execute(select(func.max(Problem.times_sent))).scalar_one() == 1
            assert session.execute(select(Batch.attempts)).scalar_one() == 1
        assert figures["problems_adopted"] == figures["duplicates"] == 0


def test_a_batch_whose_solver_says_nothing_is_handed_back(tmp_path: Path, database_url: str) -> None:
    env = {**LONG, "ANNEALQ_WORKER_SOLVER_TIMEOUT_S": "60"}
    with (
        lasting_emulator(tmp_path) as emulator,
        night(tmp_path / "home", database_url, emulator, workers=1, env=env) as at,
    ):
        emulator.process.send_signal(signal.SIGSTOP)
        run = at.enqueue(16)
        wait_for(lambda: is_held(at), "the batch to be claimed")
        time.sleep(1)  # nothing says so when it waits for an answer
        assert stop_worker(at) <= ENDS_S
        assert moves(at, "batches")[-1] == ("sampling", "pending", "the worker was stopped")
        emulator.process.send_signal(signal.SIGCONT)
        at.finish(run)
        at.assert_every_image_once(run)
        at.assert_books_agree()


def test_a_long_batch_on_this_machine_is_handed_back(database_url: str, tmp_path: Path) -> None:
    with (
        lasting_emulator(tmp_path) as emulator,
        night(tmp_path / "home", database_url, emulator, workers=1, env=LONG) as at,
    ):
        run = at.enqueue(48, batch_size=48, solver=Solver.LOCAL, parameters=SLOWLY)
        wait_for(lambda: is_held(at), "the batch to be claimed")
        time.sleep(1)  # nothing says so when it is in the middle
        assert stop_worker(at) <= ENDS_S
        assert moves(at, "batches")[-1] == ("sampling", "pending", "the worker was stopped")
        at.finish(run, seconds=200)
        at.assert_every_image_once(run)


def test_training_is_handed_back(database_url: str, tmp_path: Path) -> None:
    with (
        lasting_emulator(tmp_path) as emulator,
        night(tmp_path / "home", database_url, emulator, workers=1, env=LONG) as at,
    ):
        images = some_images(1_000, seed=9)
        options: dict[str, Any] = {"transfer": "energy", "seed": 0, "epochs": 300}
        network = enqueue_training(at.database, preset("digits"), images, **options).id
        hints.send(at.settings.broker_url, Message(Task.TRAIN_NETWORK, network))
        wait_for(lambda: has_an_epoch(at, network), "the first epoch")
        assert stop_worker(at) <= ENDS_S
        assert moves(at, "networks")[-1] == ("training", "queued", "the worker was stopped")
        wait_for(lambda: moves(at, "networks")[-1][1] == "ready", "the network to be trained", 200)


def family_of(home: Path) -> list[psutil.Process]:
    """Every process that works for a home."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.pid != os.getpid() and process.environ().get("ANNEALQ_HOME") == str(home):
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return found


def held(home: Path) -> list[str]:
    """The states of all batches."""
    if not (home / "annealq.db").exists():
        return []
    with stored(home) as connection:
        known = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'batches'").fetchone()
        return (
            [one for (one,) in connection.execute("SELECT state FROM batches ORDER BY id")] if known else []
        )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_command_leaves_nothing_running_and_nothing_held(
    tmp_path: Path, digits_file: str, number: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    for name, value in {**QUICK, **LONG, "ANNEALQ_HOME": str(home)}.items():
        monkeypatch.setenv(name, value)
    classify = ["classify", digits_file, "-l", "96", "--sweeps", "3000", "--batch-size", "48"]
    command = [sys.executable, "-m", "producer.cli", *classify, "--embedded", "--workers", "1"]
    with (home / "said").open("w") as said:
        process = subprocess.Popen(command, cwd=ROOT, stderr=said, stdout=subprocess.DEVNULL)
    wait_for(lambda: "sampling" in held(home), "a batch to be claimed")
    time.sleep(1)
    started = time.monotonic()
    process.send_signal(number)
    assert process.wait(30) == 128 + number
    assert time.monotonic() - started <= 2 * ENDS_S  # the worker, then the broker
    assert "annealq up" in (home / "said").read_text()
    assert family_of(home) == []
    assert held(home) == ["pending", "pending"]
    with running_stack(home) as up:
        done = annealq_process("runs", "watch", "1", "--json", timeout=250)
        assert done.returncode == 0, done.stderr
        up.owner.send_signal(number)
        assert up.owner.wait(20) in (0, 128 + number)
    assert family_of(home) == []
    assert held(home) == ["scored", "scored"]


def test_a_command_that_joined_a_stack_ends_soon_after_that_stack(
    tmp_path: Path, digits_file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    for name, value in {**QUICK, **LONG, "ANNEALQ_HOME": str(home)}.items():
        monkeypatch.setenv(name, value)
    classify = ["classify", digits_file, "-l", "96", "--sweeps", "3000", "--batch-size", "48"]
    command = [sys.executable, "-m", "producer.cli", *classify, "--embedded"]
    with running_stack(home, "--workers", "1") as up:
        process = subprocess.Popen(
            command, cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
        )
        wait_for(lambda: "sampling" in held(home), "a batch to be claimed")
        up.owner.send_signal(signal.SIGINT)
        up.owner.wait(30)
        _, said = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "annealq up" in said
    assert "Traceback" not in said
