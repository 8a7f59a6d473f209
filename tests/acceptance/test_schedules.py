"""A schedule on a running stack: its process may be killed, and each firing makes one run."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from producer.planning import schedules
from producer.runs import queries
from schema.database import Database
from schema.settings import load
from schema.states import RunState
from tests.acceptance.conftest import QUICK, Up, running_stack, wait_for
from tests.conftest import annealq_process

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home: the network is one that comes with annealq."""
    path = tmp_path / "home"
    path.mkdir(mode=0o700)
    for name, value in {"ANNEALQ_HOME": str(path), **QUICK}.items():
        monkeypatch.setenv(name, value)
    return path


@pytest.fixture
def database(home: Path) -> Iterator[Database]:
    opened = Database(load(home=home).database_url)
    yield opened
    opened.dispose()


def test_a_stack_makes_the_runs_of_its_schedules(home: Path, database: Database, digits_file: str) -> None:
    with running_stack(home, "--workers", "1") as up:
        request = ("classify", digits_file, "--limit", "20", "--reads", "5", "--window", "00:00-24:00")
        added = annealq_process("schedules", "add", "nightly", "--cron", "0 22 1 1 *", "--", *request)
        assert added.returncode == 0, added.stderr
        schedules.fire_now(database, "nightly")
        wait_for(lambda: len(done(database)) == 1, "the first run")
        killed = scheduler(up)
        killed.kill()
        killed.wait(10)
        schedules.fire_now(database, "nightly")
        wait_for(lambda: len(done(database)) == 2, "the run of the scheduler that came after")
        shown = json.loads(annealq_process("schedules", "show", "nightly", "--json").stdout)
    assert [one["state"] for one in shown["firings"]] == ["enqueued", "enqueued"]
    assert len({one["run_id"] for one in shown["firings"]}) == 2


def done(database: Database) -> list[int]:
    """Runs that are done."""
    with database.reading() as session:
        return [run.run_id for run in queries.runs(session) if run.state is RunState.DONE]


def scheduler(up: Up) -> psutil.Process:
    children = psutil.Process(up.owner.pid).children()
    (found,) = (child for child in children if child.cmdline()[-2:] == ["schedules", "serve"])
    return found
