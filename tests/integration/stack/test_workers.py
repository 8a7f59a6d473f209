"""Workers say that they are alive, and what they do; silence and their own word say when they are not."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import insert, select, update

from producer.progress.workers import WorkerSummary, count_alive, list_workers
from schema.database import Database
from schema.settings.tokens import account_of
from schema.settings.worker import WorkerSettings
from schema.tables import Worker
from schema.tables.processes import SILENT_S
from tests import PATIENCE_S
from tests.integration.conftest import START, Cli, Clock, Outbox
from worker import reconcile
from worker.process import activity
from worker.process.presence import Presence
from worker.sapi.connections import SolverConnections


@pytest.fixture
def presence(database: Database) -> Iterator[Callable[[], Presence]]:
    started: list[Presence] = []

    def start() -> Presence:
        started.append(Presence(database, SolverConnections(WorkerSettings()).accounts, every_s=0.01))
        return started[-1]

    yield start
    activity.end()
    for each in started:
        each.end()


def read(database: Database) -> list[WorkerSummary]:
    with database.reading() as session:
        return list_workers(session, database.now(session))


def wait_for(database: Database, holds: Callable[[WorkerSummary], bool]) -> WorkerSummary:
    """Return the only worker once it ``holds``."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        found = read(database)
        if found and holds(found[0]):
            assert len(found) == 1
            return found[0]
        assert time.monotonic() < deadline, found
        time.sleep(0.005)


def silent(name: str, seen_s: float) -> dict[str, object]:
    """Return a row of a worker that was seen last ``seen_s`` seconds after the start."""
    seen = START.fromtimestamp(START.timestamp() + seen_s, START.tzinfo)
    row = {"name": name, "host": "far", "pid": 7, "version": "0", "accounts": {"dwave": "abc"}}
    return {**row, "task": "sample_batch", "run_id": 3, "started_at": START, "seen_at": seen}


def test_a_worker_is_seen_from_its_start_to_its_end(
    database: Database, presence: Callable[[], Presence], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANNEALQ_EMULATOR_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("ANNEALQ_EMULATOR_TOKEN", "secret")
    running = presence()
    first = wait_for(database, lambda _: True)
    assert (first.pid, first.state, first.task) == (os.getpid(), "waiting", None)
    assert first.accounts["emulator"] == account_of("secret")
    assert "secret" not in str(first)

    activity.start("sample_batch", batch=5)
    assert wait_for(database, lambda worker: worker.batch_id == 5).state == "working"
    activity.concern(batch=6, run=2)  # a more urgent one
    doing = wait_for(database, lambda worker: worker.run_id == 2)
    assert (doing.task, doing.batch_id) == ("sample_batch", 6)
    assert doing.task_since is not None
    assert first.started_at <= doing.task_since <= doing.seen_at
    activity.end()
    wait_for(database, lambda worker: worker.state == "waiting" and worker.run_id is None)

    running.end()
    stopped = wait_for(database, lambda worker: worker.state == "stopped")
    assert stopped.stopped_at == stopped.seen_at > first.seen_at
    assert not stopped.is_alive


def test_a_row_that_was_removed_comes_back(database: Database, presence: Callable[[], Presence]) -> None:
    presence()
    name = wait_for(database, lambda _: True).name
    with database.transaction() as session:
        session.execute(Worker.__table__.delete())  # type: ignore[attr-defined]
    assert wait_for(database, lambda _: True).name == name


def test_a_worker_that_falls_silent_is_dead_and_forgotten_after_an_hour(
    timed: Database, clock: Clock
) -> None:
    with timed.transaction() as session:
        session.execute(insert(Worker), [silent("killed", 0), silent("living", SILENT_S)])
    clock.forward(SILENT_S)
    assert [(worker.name, worker.state) for worker in read(timed)] == [
        ("living", "working"),
        ("killed", "dead"),
    ]
    with timed.reading() as session:
        assert count_alive(session, clock()) == 1

    clock.forward(3600 - 1)
    reconcile.reconcile(timed, WorkerSettings(), Outbox())
    assert [worker.name for worker in read(timed)] == ["living"]


def test_the_command_shows_who_is_alive_and_what_it_does(database: Database, cli: Cli) -> None:
    assert "no worker is alive" in cli("workers")
    assert json.loads(cli("workers", "--json")) == []
    with database.transaction() as session:
        now = database.now(session)
        session.execute(insert(Worker).values(silent("here", 0)))
        session.execute(update(Worker).values(seen_at=now, started_at=now, task_since=now))
    text = cli("workers")
    assert "sample_batch" in text
    assert "no worker" not in text
    (shown,) = json.loads(cli("workers", "--json"))
    assert (shown["state"], shown["run_id"], shown["solvers"]) == ("working", 3, ["dwave"])
    assert "accounts" not in shown
    with database.reading() as session:
        assert session.execute(select(Worker.accounts)).scalar_one() == {"dwave": "abc"}
