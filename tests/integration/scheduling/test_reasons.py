"""A run that does not go on says why."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from sqlalchemy import insert, update

from producer.enqueued import Enqueued
from producer.progress.stages import ImageProgress, progress_of, waits_of
from producer.runs import control
from schema.database import Database
from schema.states import BatchState, RunState
from schema.tables import Batch, Worker
from tests.integration.conftest import START, Clock

Enqueue = Callable[..., Enqueued]


def waits(database: Database, run: int) -> str | None:
    with database.reading() as session:
        now = database.now(session)
        text = waits_of(session, run, now)
        assert text == progress_of(session, run, now).waits
    return text


def hold(database: Database, run: int, until: datetime) -> None:
    """Let a worker hold the first batch of ``run``."""
    with database.transaction() as session:
        held = {"state": BatchState.SAMPLING, "lease_until": until}
        session.execute(update(Batch).where(Batch.run_id == run, Batch.ordinal == 0).values(held))


def test_without_a_worker_it_says_so_and_since_when(timed: Database, clock: Clock, enqueue: Enqueue) -> None:
    run = enqueue().id
    assert waits(timed, run) is None  # it was enqueued a moment ago
    clock.forward(3)
    untouched = "no worker has taken its batches since 00:00:00 UTC"
    assert (waits(timed, run) or "").startswith(f"{untouched}, as none is alive: ")
    with timed.transaction() as session:
        row = {"name": "a", "host": "b", "pid": 1, "version": "0", "accounts": {}}
        session.execute(insert(Worker).values(**row, started_at=START, seen_at=clock()))
    assert waits(timed, run) == f"{untouched}, though 1 worker is alive: see `annealq workers`"
    hold(timed, run, START + timedelta(seconds=60))
    assert waits(timed, run) is None


def test_runs_that_go_first_are_named(timed: Database, clock: Clock, enqueue: Enqueue) -> None:
    run, urgent, other = enqueue(seed=1).id, enqueue(seed=2, priority=5).id, enqueue(seed=3).id
    clock.forward(3)
    hold(timed, other, START + timedelta(seconds=60))
    assert waits(timed, run) == f"the workers are busy with run {other}, with which it takes turns"
    hold(timed, urgent, START + timedelta(seconds=60))
    assert waits(timed, run) == f"runs {urgent}, {other} of higher priority go first"
    clock.forward(100)  # the workers that held them are gone
    assert "no worker" in (waits(timed, run) or "")


def test_nothing_is_said_of_a_run_that_only_a_user_resumes(
    timed: Database, clock: Clock, enqueue: Enqueue
) -> None:
    run = enqueue().id
    clock.forward(3)
    control.pause(timed, run)
    assert waits(timed, run) is None


def test_the_time_left_follows_from_the_mean_rate() -> None:
    at = START + timedelta(seconds=30)
    half = ImageProgress(RunState.RUNNING, 100, 40, 20, 10, None, began_at=START, latest_at=at)
    assert half.left_s(at) == 30.0
    assert half.left_s(at + timedelta(seconds=10)) == 20.0
    assert half.left_s(at + timedelta(seconds=50)) == 0.0
    assert ImageProgress(RunState.RUNNING, 100, 0, 0, 0, None, began_at=START).left_s(at) is None
    waiting = ImageProgress(RunState.RUNNING, 100, 40, 0, 0, None, None, "x", began_at=START, latest_at=at)
    assert waiting.left_s(at) is None
