"""Kills processes and loses messages during a run: every image is classified exactly once."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
from pathlib import Path

import pytest
from redis import Redis

from schema.settings import socket_path
from tests.acceptance.conftest import Up, running_stack, show, wait_for
from tests.conftest import annealq

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
    with sqlite3.connect(home / "annealq.db", timeout=30) as connection:
        query = "SELECT count(*) FROM batches WHERE run_id = ? AND state = 'scored'"
        return connection.execute(query, (run,)).fetchone()[0]


def check_every_image_once(home: Path, run: int) -> None:
    """Watch the run to its end; each image has one classification and each batch was scored once."""
    done = annealq("runs", "watch", str(run), "--json", timeout=120)
    assert done.returncode == 0, done.stderr
    with sqlite3.connect(home / "annealq.db") as connection:
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


def kill_pool(up: Up) -> None:
    up.children()["pool"][0].kill()


def kill_worker(up: Up) -> None:
    up.children()["worker"][0].kill()


def kill_broker(up: Up) -> None:
    up.children()["broker"][0].kill()


def kill_reconciler(up: Up) -> None:
    up.children()["reconciler"][0].kill()


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
        run = enqueue(digits_file)
        for hits in (3, 9):
            wait_for(lambda n=hits: scored(home, run) >= n, f"{hits} scored batches")
            strike(up)  # type: ignore[operator]
        assert scored(home, run) < 30
        check_every_image_once(home, run)


@pytest.mark.slow
def test_queued_work_survives_the_whole_stack_killed_and_started_again(home: Path, digits_file: str) -> None:
    with running_stack(home, "--workers", "2") as up:
        run = enqueue(digits_file)
        wait_for(lambda: scored(home, run) >= 3, "3 scored batches")
        family = [up.owner.pid, *(p.pid for kind in up.children().values() for p in kind)]
        os.kill(up.owner.pid, signal.SIGKILL)
        up.owner.wait(10)
        wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in family), "all of it to be gone", 10)
    assert scored(home, run) < 30
    (home / "up.log").unlink()
    with running_stack(home, "--workers", "2"):
        check_every_image_once(home, run)


def test_ctrl_c_in_an_embedded_run_keeps_the_work(home: Path, digits_file: str) -> None:
    import subprocess
    import sys

    from tests.conftest import ROOT

    command = [sys.executable, "-m", "producer.cli", "classify", digits_file, "-l", str(IMAGES)]
    process = subprocess.Popen(
        [*command, "--sweeps", "200", "--batch-size", "10", "--embedded"],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )
    wait_for(lambda: scored(home, 1) >= 3, "3 scored batches")
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=40)
    assert process.returncode == 130
    assert "annealq up" in said
    with running_stack(home):
        check_every_image_once(home, 1)
