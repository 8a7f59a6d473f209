"""The default stack: a real worker and a real reconciler start, and leave no process behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

import pytest
from celery import Celery
from redis import Redis
from sqlalchemy import select

import migrations
from producer.progress.workers import list_workers
from producer.stack.process import environment
from producer.stack.stack import running_pid
from schema.database import Database
from schema.errors import StorageError
from schema.settings import Settings, load, socket_path
from schema.tables import Leader
from tests import PATIENCE_S
from tests.conftest import annealq_process

pytest.importorskip("torch", reason="a worker needs the worker extra")

OWNER = """
from producer.stack.stack import Stack
from schema.settings import load

with Stack(load(), workers=2, on_event=lambda line: print(line, flush=True)) as stack:
    raise SystemExit(128 + stack.wait())
"""
BOOT_S = PATIENCE_S


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    home = tmp_path / "home"
    return load(
        home=home,
        database_url=f"sqlite:///{quote(str(home / 'annealq.db'))}",
        broker_url=f"redis+socket://{quote(str(socket_path(home)))}",
    )


def worker_pids(settings: Settings) -> list[int]:
    """Of the Celery workers that answer over the broker, and of their pools."""
    app = Celery(broker=settings.broker_url, set_as_current=False)
    with app.connection_for_write() as connection:
        answers = app.control.inspect(timeout=0.5, connection=connection).stats() or {}
    return [pid for answer in answers.values() for pid in (answer["pid"], *answer["pool"]["processes"])]


def reconciler_pids(settings: Settings) -> list[int]:
    """Of the reconciler that leads: its lease names host, process and a random part."""
    database = Database(settings.database_url)
    try:
        with database.reading() as session:
            return [int(holder.split(":")[1]) for holder in session.execute(select(Leader.holder)).scalars()]
    except StorageError:
        return []
    finally:
        database.dispose()


def wait_for_pids(settings: Settings, owner: subprocess.Popen[str]) -> list[int]:
    """Of broker, worker, its pool of two, and reconciler, once all of them work."""
    assert owner.stdout is not None
    while not owner.stdout.readline().startswith("the reconciler is started"):
        assert owner.poll() is None, "the owner gave up"
    with closing(Redis(unix_socket_path=str(socket_path(settings.home)))) as redis:
        broker = int(redis.info("server")["process_id"])
    deadline = time.monotonic() + BOOT_S
    while time.monotonic() < deadline:
        found = [broker, *worker_pids(settings), *reconciler_pids(settings)]
        if len(found) == 5:
            return found
        assert owner.poll() is None, "the owner gave up"
    raise AssertionError(f"only {found} came up within {BOOT_S} s")


def wait_for_workers(settings: Settings, states: set[str], count: int) -> list[int]:
    """Process ids in the table of workers, once there are ``count`` of them, in these ``states``."""
    database = Database(settings.database_url)
    deadline = time.monotonic() + BOOT_S
    try:
        while True:
            with database.reading() as session:
                found = list_workers(session, database.now(session))
            if len(found) == count and {worker.state.value for worker in found} <= states:
                return [worker.pid for worker in found]
            assert time.monotonic() < deadline, found
            time.sleep(0.05)
    finally:
        database.dispose()


def is_alive(pid: int) -> bool:
    """Zombies are dead: in a container there may be nobody to reap them."""
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except ProcessLookupError:
        return False
    except FileNotFoundError:
        return sys.platform != "linux"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has a parent-death signal")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_worker_and_reconciler_come_up_and_go(settings: Settings, number: signal.Signals) -> None:
    env = {**os.environ, **environment(settings)}
    command = [sys.executable, "-c", OWNER]
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True) as owner:
        try:
            pids = wait_for_pids(settings, owner)
            assert all(map(is_alive, pids))
            assert set(pids) > set(wait_for_workers(settings, {"waiting"}, 2))
            owner.send_signal(number)
            assert owner.wait(PATIENCE_S) == {signal.SIGTERM: 143, signal.SIGKILL: -9}[number]
        finally:
            owner.kill()
    deadline = time.monotonic() + (20.0 if number == signal.SIGKILL else 0.0)
    while left := [pid for pid in pids if is_alive(pid)]:
        assert time.monotonic() < deadline, f"{left} outlived their owner"
        time.sleep(0.01)
    assert running_pid(settings.home) is None
    if number == signal.SIGTERM:
        assert len(wait_for_workers(settings, {"stopped"}, 2)) == 2


@pytest.mark.parametrize("command", ["worker", "reconciler", "up"])
def test_a_setting_that_is_wrong_is_named_and_nothing_starts(settings: Settings, command: str) -> None:
    settings.home.mkdir(mode=0o700)
    migrations.upgrade(settings.database_url)
    env = {**environment(settings), "ANNEALQ_WORKER_LEASE_S": "soon"}
    done = annealq_process(command, env=env, timeout=BOOT_S)
    assert done.returncode == 2
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith("error: ANNEALQ_WORKER_LEASE_S, or ")
