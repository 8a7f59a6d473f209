"""What webhooks tell: pauses, spent budgets and progress, each once, and only what was chosen."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import insert, select, update

from producer.enqueued import Enqueued
from producer.runs import control
from producer.webhooks import notices
from producer.webhooks.kinds import Kind
from schema.database import Database
from schema.states import PausedBy, RunState
from schema.tables import Run
from schema.tables.api import Delivery, RunSubmission
from tests.integration.conftest import START, Clock

SECRET = "whsec_" + "A" * 32
Enqueue = Callable[..., Enqueued]


def watched(database: Database, run: int, events: list[str] | None = None) -> int:
    with database.transaction() as session:
        values = {"webhook_url": "https://example.com", "webhook_secret": SECRET, "created_at": START}
        session.execute(insert(RunSubmission).values(run_id=run, webhook_events=events, **values))
    return run


def told(database: Database) -> list[str]:
    """Return the types of all messages after the next look for news."""
    notices.enqueue_notices(database)
    with database.reading() as session:
        bodies = session.execute(select(Delivery.body).order_by(Delivery.id)).scalars()
        return [json.loads(body)["type"].removeprefix("run.") for body in bodies]


def change(database: Database, run: int, **values: Any) -> None:
    with database.transaction() as session:
        session.execute(update(Run).where(Run.id == run).values(**values))


@pytest.mark.parametrize(
    ("paused_by", "message"),
    [
        (PausedBy.HAND, ["paused"]),
        (PausedBy.DAY, ["paused"]),
        (PausedBy.MONTH, ["paused"]),
        (PausedBy.BUDGET, ["budget_spent"]),
        (PausedBy.WINDOW, []),
        (PausedBy.DEADLINE, []),
    ],
)
def test_each_pause_is_told_once_but_not_that_a_window_closes(
    timed: Database, enqueue: Enqueue, clock: Clock, paused_by: PausedBy, message: list[str]
) -> None:
    run = watched(timed, enqueue(10).id)
    assert told(timed) == []
    change(timed, run, state=RunState.PAUSED, paused_by=paused_by, pause_reason="x", paused_at=clock.now)
    assert told(timed) == told(timed) == message
    clock.forward(60)
    change(timed, run, paused_at=clock.now)  # resumed and paused again
    assert told(timed) == message * 2


def test_quarters_are_told_once_each_to_those_who_want_them(
    timed: Database, enqueue: Enqueue, clock: Clock
) -> None:
    wanted = watched(timed, enqueue(80).id, ["progress", "ended"])
    watched(timed, enqueue(80, seed=1).id)
    marks = {}
    for scored in range(9):
        with timed.transaction() as session:
            session.execute(update(Run).values(batches_scored=scored, state=RunState.RUNNING))
        clock.forward(1)
        marks[scored] = len(told(timed))
    assert list(marks.values()) == [0, 0, 1, 1, 2, 2, 3, 3, 3]
    with timed.reading() as session:
        bodies = [json.loads(body) for body in session.execute(select(Delivery.body)).scalars()]
    assert [body["data"]["percent"] for body in bodies] == [25, 50, 75]
    assert {body["data"]["run_id"] for body in bodies} == {wanted}
    control.cancel(timed, wanted)
    assert told(timed) == ["progress"] * 3 + ["cancelled"]


def test_of_several_quarters_since_the_latest_look_the_last_is_told(
    timed: Database, enqueue: Enqueue
) -> None:
    run = watched(timed, enqueue(80).id, ["progress"])
    change(timed, run, batches_scored=7, state=RunState.RUNNING)
    with ThreadPoolExecutor(4) as pool:  # of several processes, one tells
        for done in [pool.submit(notices.enqueue_progress, timed) for _ in range(8)]:
            done.result()
    with timed.reading() as session:
        assert session.execute(select(Delivery.event)).scalars().all() == ["progress_75"]


def test_only_chosen_events_are_told(timed: Database, enqueue: Enqueue, clock: Clock) -> None:
    runs = {kind: watched(timed, enqueue(10, seed=k).id, [kind]) for k, kind in enumerate(Kind)}
    for run in runs.values():
        control.pause(timed, run)
    assert told(timed) == ["paused"]
    clock.forward(1)
    for run in runs.values():
        control.cancel(timed, run)
    assert told(timed) == ["paused", "cancelled"]
    with timed.reading() as session:
        found = session.execute(select(Delivery.run_id).order_by(Delivery.id)).scalars().all()
    assert found == [runs[Kind.PAUSED], runs[Kind.ENDED]]
