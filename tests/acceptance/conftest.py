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
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from producer.images.digits import read_digits
from producer.images.imageset import ImageSet
from producer.networks.choose import get_or_install_network
from producer.stack.stack import Stack
from schema.database import Database, engine
from schema.settings import load
from tests import PATIENCE_S
from tests.conftest import ROOT, annealq

QUICK = {  # leases and patience short enough for tests that kill things
    "ANNEALQ_WORKER_LEASE_S": "2",
    "ANNEALQ_WORKER_RETRY_BASE_S": "0.2",
    "ANNEALQ_WORKER_REHINT_S": "5",
    "ANNEALQ_WORKER_REHINT_IDLE_S": "1",
    "ANNEALQ_WORKER_RECONCILE_EVERY_S": "0.5",  # at 0.2 s its passes take a good part of the processor
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
    found = read_digits()
    assert found.labels is not None
    return found.images, found.labels


@pytest.fixture(scope="session")
def digits_file(tmp_path_factory: pytest.TempPathFactory, digits: tuple[np.ndarray, np.ndarray]) -> str:
    """The digits as a file."""
    path = tmp_path_factory.mktemp("data") / "digits.npz"
    np.savez(path, images=digits[0], labels=digits[1])
    return str(path)


@pytest.fixture(scope="session")
def trained_home(
    tmp_path_factory: pytest.TempPathFactory, _sqlite_template: Path, digits: tuple[np.ndarray, np.ndarray]
) -> Path:
    """A home with `digits@1`, the network that is shipped."""
    home = tmp_path_factory.mktemp("trained")
    shutil.copy(_sqlite_template, home / "annealq.db")
    database = Database(f"sqlite:///{home / 'annealq.db'}")
    get_or_install_network(database, ImageSet("digits", *digits, None, None), "digits")
    database.dispose()
    return home


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
def own_stack(home: Path) -> Iterator[None]:
    """Broker, worker and reconciler on a home, owned by this process: half the start of `annealq up`."""
    with Stack(load(home=home), workers=2):
        yield


@contextmanager
def running_stack(home: Path, *options: str) -> Iterator[Up]:
    """`annealq up` on a home, stopped by Ctrl-C in the end."""
    command = [sys.executable, "-m", "producer.cli", "up", *options]
    with (home / "up.log").open("a") as log:
        owner = subprocess.Popen(command, cwd=ROOT, stderr=log, stdout=log, text=True, env=os.environ.copy())
    try:
        wait_for(lambda: (home / "up.log").read_text().count("annealq is up") > 0, "the stack to be up")
        yield Up(owner, home)
    finally:
        if owner.poll() is None:
            owner.send_signal(signal.SIGINT)
        owner.wait(PATIENCE_S)


@contextmanager
def stored(home: Path) -> Iterator[Any]:
    """A connection to the database of ``home``, by the SQLite that annealq has in this process.

    Python's own is another one: if it closes a file here, the locks of the other are lost. Then a process
    may delete the log under a `runs watch` of this process, which never sees any news.
    """
    opened = engine.create(engine.parse(f"sqlite:///{home / 'annealq.db'}"), 1)
    with closing(opened.raw_connection()) as connection:
        yield connection.driver_connection
    opened.dispose()


def wait_for(happened: Callable[[], bool], what: str, seconds: float = PATIENCE_S) -> None:
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
