"""Kills processes and loses messages during a run: every image is classified exactly once."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from schema.settings import socket_path
from tests import PATIENCE_S
from tests.acceptance.conftest import Up, running_stack, show, stored, wait_for
from tests.conftest import ROOT, annealq

IMAGES = 300


def enqueue(digits_file: str) -> int:
    done = annealq(
        *("classify", digits_file, "-l", str(IMAGES), "-r", "100", "--sweeps", "200"),
        *("--batch-size", "10", "--detach", "--json"),
    )
    assert done.returncode == 0, done.stderr
    run: int = json.loads(done.stdout)["run_id"]
    return run


def scored(home: Path, run: int) -> int:
    with stored(home) as connection:
        query = "SELECT count(*) FROM batches WHERE run_id = ? AND state = 'scored'"
        return connection.execute(query, (run,)).fetchone()[0]


def check_every_image_once(home: Path, run: int) -> None:
    """Watch the run to its end; each image has one classification and each batch was scored once."""
    done = annealq("runs", "watch", str(run), "--json")
    assert done.returncode == 0, done.stderr
    with stored(home) as connection:
        images = connection.execute(
            "SELECT image FROM classifications WHERE run_id = ? ORDER BY image", (run,)
        ).fetchall()
        scorings = connection.execute(
            "SELECT max(n) FROM (SELECT count(*) n FROM events "
            "WHERE subject = 'batches' AND target = 'scored' GROUP BY row)"
        ).fetchone()[0]
        finished = connection.execute(
            "SELECT count(*) FROM events WHERE subject = 'runs' AND target = 'done' AND row = ?", (run,)
        ).fetchone()[0]
    assert [image for (image,) in images] == list(range(IMAGES))
    assert (scorings, finished) == (1, 1)
    assert show(run)["accuracy"] > 0.9


def struck(home: Path, digits_file: str, hits: Sequence[int], strike: Callable[[], object]) -> int:
    """Enqueue a run and strike once ``hits`` of its batches are scored; return it.

    However fast the machine is, it has not ended by then: otherwise another one is enqueued.
    """
    while True:
        run = enqueue(digits_file)
        for least in hits:
            wait_for(lambda n=least, of=run: scored(home, of) >= n, f"{least} scored batches")
            strike()
        if scored(home, run) < IMAGES // 10:
            return run


def kill(up: Up, kind: str) -> None:
    """Kill a process of ``kind``, once there is one: it may just be started again."""
    wait_for(lambda: len(up.children()[kind]) > 0, f"a {kind} process")
    up.children()[kind][0].kill()


def kill_pool(up: Up) -> None:
    kill(up, "pool")


def kill_worker(up: Up) -> None:
    kill(up, "worker")


def kill_reconciler(up: Up) -> None:
    kill(up, "reconciler")


def flush_broker(up: Up) -> None:
    with Redis(unix_socket_path=str(socket_path(up.home))) as client:
        client.flushall()


@pytest.mark.parametrize(
    "strike",
    [
        kill_worker,
        pytest.param(flush_broker, marks=pytest.mark.slow),
        pytest.param(kill_pool, marks=pytest.mark.slow),
        pytest.param(kill_reconciler, marks=pytest.mark.slow),
    ],
)
def test_a_run_survives(home: Path, strike: object, digits_file: str) -> None:
    with running_stack(home, "--workers", "2") as up:
        run = struck(home, digits_file, (3, 9), lambda: strike(up))  # type: ignore[operator]
        check_every_image_once(home, run)


@pytest.mark.slow
def test_queued_work_survives_the_whole_stack_killed_and_started_again(home: Path, digits_file: str) -> None:
    with running_stack(home, "--workers", "2") as up:
        run = enqueue(digits_file)
        wait_for(lambda: scored(home, run) >= 3, "3 scored batches")
        family = [up.owner.pid, *(p.pid for kind in up.children().values() for p in kind)]
        os.kill(up.owner.pid, signal.SIGKILL)
        up.owner.wait(PATIENCE_S)
        wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in family), "all of it to be gone")
    assert scored(home, run) < 30
    (home / "up.log").unlink()
    with running_stack(home, "--workers", "2"):
        check_every_image_once(home, run)


def test_ctrl_c_in_an_embedded_run_keeps_the_work(home: Path, digits_file: str) -> None:
    command = [sys.executable, "-m", "producer.cli", "classify", digits_file, "-l", str(IMAGES)]
    options = ("--sweeps", "200", "--batch-size", "10", "--embedded")
    pipes: dict[str, Any] = {"stderr": subprocess.PIPE, "stdout": subprocess.DEVNULL, "text": True}
    with subprocess.Popen([*command, *options], cwd=ROOT, **pipes) as process:
        try:
            wait_for(lambda: scored(home, 1) >= 3, "3 scored batches")
            process.send_signal(signal.SIGINT)
            _, said = process.communicate(timeout=PATIENCE_S)
        finally:
            process.kill()
    assert process.returncode == 130
    assert "annealq up" in said
    with running_stack(home):
        check_every_image_once(home, 1)
