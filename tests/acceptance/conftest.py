"""Fixtures: a home folder with a trained network, and a stack that runs on it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from tests.conftest import ROOT, annealq
from tests.once import made_once

QUICK = {  # leases and patience short enough for tests that kill things
    "ANNEALQ_WORKER_LEASE_S": "2",
    "ANNEALQ_WORKER_RETRY_BASE_S": "0.2",
    "ANNEALQ_WORKER_REHINT_S": "5",
    "ANNEALQ_WORKER_REHINT_IDLE_S": "1",
    "ANNEALQ_WORKER_RECONCILE_EVERY_S": "0.2",
    "ANNEALQ_WORKER_LEADER_LEASE_S": "2",
    "ANNEALQ_WORKER_MAX_ATTEMPTS": "1000",
}


Say = Callable[[str], None]


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]) -> Say:
    """Shows a line of figures, whatever becomes of the test."""

    def say(line: str) -> None:
        with capsys.disabled():
            sys.stdout.write(f"\n{line}\n")

    return say


@pytest.fixture(scope="session")
def digits() -> tuple[np.ndarray, np.ndarray]:
    from sklearn.datasets import load_digits

    data = load_digits()
    return data.images.astype(np.uint8), data.target.astype(np.int64)


@pytest.fixture(scope="session")
def digits_file(tmp_path_factory: pytest.TempPathFactory, digits: tuple[np.ndarray, np.ndarray]) -> str:
    """The digits as a file: reading it takes a second less than importing scikit-learn in every command."""
    path = tmp_path_factory.mktemp("data") / "digits.npz"
    np.savez(path, images=digits[0], labels=digits[1])
    return str(path)


@pytest.fixture(scope="session")
def trained_home(tmp_path_factory: pytest.TempPathFactory, digits_file: str) -> Path:
    """A home with `digits@1`, trained through the queue by the command line, shortly."""

    def train(home: Path) -> None:
        done = annealq(
            *("networks", "train", "digits", "--data", digits_file, "--epochs", "8", "--embedded", "--json"),
            env={"ANNEALQ_HOME": str(home), **QUICK},
            timeout=200,
        )
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["state"] == "ready"

    return made_once(tmp_path_factory, "trained", train)


@pytest.fixture
def home(trained_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of the test's own, with the trained network in its database."""
    path = tmp_path / "home"
    path.mkdir(mode=0o700)
    for file in trained_home.glob("annealq.db*"):
        shutil.copy(file, path)
    monkeypatch.setenv("ANNEALQ_HOME", str(path))
    for name, value in QUICK.items():
        monkeypatch.setenv(name, value)
    return path


@dataclass(frozen=True)
class Up:
    """A running `annealq up`."""

    owner: subprocess.Popen[str]
    home: Path

    def children(self) -> dict[str, list[psutil.Process]]:
        """Its processes by kind: broker, worker (the parent), pool (its children), reconciler."""
        kinds: dict[str, list[psutil.Process]] = {"broker": [], "worker": [], "pool": [], "reconciler": []}
        for child in psutil.Process(self.owner.pid).children():
            line = " ".join(child.cmdline())
            if "worker.reconcile" in line:
                kinds["reconciler"].append(child)
            elif "worker.celery" in line:
                kinds["worker"].append(child)
                kinds["pool"] += child.children()
            elif "valkey" in line or "redis" in line:
                kinds["broker"].append(child)
        return kinds


@contextmanager
def running_stack(home: Path, *options: str) -> Iterator[Up]:
    """`annealq up` on a home, stopped by Ctrl-C in the end."""
    command = [sys.executable, "-m", "producer.cli", "up", *options]
    with (home / "up.log").open("a") as log:
        owner = subprocess.Popen(command, cwd=ROOT, stderr=log, stdout=log, text=True, env=os.environ.copy())
    try:
        wait_for(lambda: (home / "up.log").read_text().count("annealq is up") > 0, "the stack to be up", 30)
        yield Up(owner, home)
    finally:
        if owner.poll() is None:
            owner.send_signal(signal.SIGINT)
        owner.wait(40)


def wait_for(happened: Callable[[], bool], what: str, seconds: float = 60) -> None:
    """Wait for something that other processes bring about; fails naming it."""
    deadline = time.monotonic() + seconds
    while not happened():
        if time.monotonic() > deadline:
            pytest.fail(f"waited {seconds:.0f} s in vain for {what}")
        time.sleep(0.02)


def show(run: int) -> dict[str, Any]:
    """`annealq runs show RUN --json`, parsed."""
    done = annealq("runs", "show", str(run), "--json")
    assert done.returncode == 0, done.stderr
    shown: dict[str, Any] = json.loads(done.stdout)
    return shown
