"""Claims, leases and work whose worker fell silent."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest
from sqlalchemy import select

from producer.enqueued import Enqueued
from schema.database import Database, leader_lease, transition
from schema.errors import LeaseLost, StaleState
from schema.messages import Message, Task
from schema.settings.worker import WorkerSettings
from schema.states import BatchState, RunState
from schema.tables import Batch, Event, Leader, Run
from tests.integration.conftest import Clock, Outbox
from worker import reconcile
from worker.records import attempts, batches, claims, leases
from worker.records.retries import Discard, Retry
from worker.scheduling.dispatch import choose_batch, dispatch

Enqueue = Callable[..., Enqueued]
SETTINGS = WorkerSettings(lease_s=60, max_attempts=3, waiting_hints=4, rehint_s=60, rehint_idle_s=2)


def batch_ids(database: Database, run: int) -> list[int]:
    with database.reading() as session:
        query = select(Batch.id).where(Batch.run_id == run).order_by(Batch.ordinal)
        return list(session.execute(query).scalars())


def claim(database: Database, batch: int) -> leases.Lease | None:
    with database.transaction() as session:
        return claims.claim_batch(session, batch, now=database.now(session), lease_s=60)


def states(database: Database, run: int) -> list[BatchState]:
    with database.reading() as session:
        query = select(Batch.state).where(Batch.run_id == run).order_by(Batch.ordinal)
        return list(session.execute(query).scalars())


def test_many_workers_claim_a_batch_once(timed: Database, enqueue: Enqueue) -> None:
    (batch,) = batch_ids(timed, enqueue(10).id)
    with ThreadPoolExecutor(8) as pool:
        claimed = [lease for lease in pool.map(lambda _: claim(timed, batch), range(16)) if lease]
    assert [(lease.fence, lease.attempt) for lease in claimed] == [(1, 1)]


def test_a_batch_of_a_paused_run_is_not_claimed(timed: Database, enqueue: Enqueue) -> None:
    run = enqueue(10).id
    with timed.transaction() as session:
        transition(session, run, RunState.QUEUED, RunState.PAUSED, now=timed.now(session))
    assert claim(timed, batch_ids(timed, run)[0]) is None


def test_a_holder_that_was_replaced_cannot_write(timed: Database, enqueue: Enqueue, clock: Clock) -> None:
    run = enqueue(10).id
    (batch,) = batch_ids(timed, run)
    first = claim(timed, batch)
    clock.forward(61)
    with timed.transaction() as session:
        attempts.release_expired(session, now=clock(), settings=SETTINGS)
    second = claim(timed, batch)
    assert first is not None
    assert second is not None
    assert second.fence == 2
    with timed.transaction() as session, pytest.raises(LeaseLost, match="taken over"):
        leases.renew(session, first, now=clock(), lease_s=60)
    with timed.transaction() as session:
        leases.renew(session, second, now=clock(), lease_s=60)


def test_a_silent_worker_loses_its_batch_and_at_last_the_batch_fails(
    timed: Database, enqueue: Enqueue, clock: Clock
) -> None:
    run = enqueue(20).id
    first, second = batch_ids(timed, run)
    for attempt in (1, 2, 3):
        lease = claim(timed, first)
        assert lease is not None
        assert lease.attempt == attempt
        clock.forward(59)
        with timed.transaction() as session:
            assert attempts.release_expired(session, now=clock(), settings=SETTINGS) == []
        clock.forward(2)
        with timed.transaction() as session:
            attempts.release_expired(session, now=clock(), settings=SETTINGS)
    assert states(timed, run) == [BatchState.FAILED, BatchState.PENDING]
    with timed.transaction() as session:
        error = session.execute(select(Batch.error).where(Batch.id == first)).scalar_one()
        assert error == "the worker fell silent during attempt 3"
    # The run can end when its last batch is discarded.
    assert claim(timed, second)
    with timed.transaction() as session:
        assert attempts.finish_attempt(session, Batch, second, Discard("no"), now=clock()) == run


def test_postponed_work_waits_for_its_time(timed: Database, enqueue: Enqueue, clock: Clock) -> None:
    (batch,) = batch_ids(timed, enqueue(10).id)
    assert claim(timed, batch)
    with timed.transaction() as session:
        assert attempts.finish_attempt(session, Batch, batch, Retry(30.0, "busy"), now=clock()) is None
    assert claim(timed, batch) is None
    clock.forward(30)
    assert claim(timed, batch)


def test_a_move_happens_once_and_is_written_down(timed: Database, enqueue: Enqueue) -> None:
    run = enqueue(10).id
    with timed.transaction() as session:
        transition(session, run, RunState.QUEUED, RunState.RUNNING, now=timed.now(session), why="test")
    with timed.transaction() as session, pytest.raises(StaleState, match=f"runs {run}.*queued"):
        transition(session, run, RunState.QUEUED, RunState.RUNNING, now=timed.now(session))
    with timed.transaction() as session, pytest.raises(ValueError, match="must not move"):
        transition(session, run, RunState.RUNNING, RunState.QUEUED, now=timed.now(session))
    with timed.reading() as session:
        events = session.execute(select(Event).where(Event.subject == "runs").order_by(Event.id)).scalars()
        moves = [(event.source, event.target, event.why) for event in events]
    assert moves == [(None, "queued", None), ("queued", "running", "test")]


def test_few_hints_wait_and_higher_priority_goes_first(
    timed: Database, enqueue: Enqueue, clock: Clock, outbox: Outbox
) -> None:
    bulk, urgent = enqueue(100).id, enqueue(20, priority=5).id
    assert dispatch(timed, SETTINGS, outbox) == 4
    expected = batch_ids(timed, urgent) + batch_ids(timed, bulk)[:2]
    assert [message.row for message in outbox.take()] == expected
    assert dispatch(timed, SETTINGS, outbox) == 0  # four wait: that is enough
    for batch in expected:
        assert claim(timed, batch)
    assert dispatch(timed, SETTINGS, outbox) == 4
    assert [message.row for message in outbox.take()] == batch_ids(timed, bulk)[2:6]


def test_a_lost_hint_is_sent_again_soon_if_the_queue_is_empty_else_later(
    timed: Database, enqueue: Enqueue, clock: Clock, outbox: Outbox
) -> None:
    (batch,) = batch_ids(timed, enqueue(10).id)
    hint = Message(Task.SAMPLE_BATCH, batch)
    reconcile.reconcile(timed, SETTINGS, outbox)
    assert outbox.take() == [hint]
    outbox.waits = 1
    clock.forward(30)
    reconcile.reconcile(timed, SETTINGS, outbox)
    assert outbox.take() == []
    clock.forward(31)
    reconcile.reconcile(timed, SETTINGS, outbox)
    assert outbox.take() == [hint]
    outbox.waits = 0
    clock.forward(3)
    reconcile.reconcile(timed, SETTINGS, outbox)
    assert outbox.take() == [hint]


def test_a_run_whose_batches_are_all_done_is_aggregated_even_if_the_hint_is_lost(
    timed: Database, enqueue: Enqueue, clock: Clock, outbox: Outbox
) -> None:
    run = enqueue(10).id
    (batch,) = batch_ids(timed, run)
    assert claim(timed, batch)
    with timed.transaction() as session:
        batches.start_run(session, run, now=clock())
        attempts.finish_attempt(session, Batch, batch, Discard("broken"), now=clock())
    reconcile.reconcile(timed, SETTINGS, outbox)
    assert outbox.take() == [Message(Task.AGGREGATE_RUN, run)]
    with timed.reading() as session:
        assert session.execute(select(Run.batches_failed).where(Run.id == run)).scalar_one() == 1


def test_one_reconciler_leads_and_another_takes_over(timed: Database, clock: Clock) -> None:
    def lead(holder: str) -> bool:
        with timed.transaction() as session:
            return leader_lease.lead(session, leader_lease.RECONCILER, holder, now=clock(), lease_s=10)

    assert lead("a")
    assert not lead("b")
    clock.forward(9)
    assert lead("a")
    clock.forward(9)
    assert not lead("b")
    clock.forward(2)
    assert lead("b")
    assert not lead("a")
    with timed.reading() as session:
        assert session.execute(select(Leader.holder)).scalars().all() == ["b"]


def test_two_reconcilers_at_once_do_no_harm(
    timed: Database, enqueue: Enqueue, clock: Clock, outbox: Outbox
) -> None:
    run = enqueue(100).id
    for batch in batch_ids(timed, run):
        assert claim(timed, batch)
    clock.forward(61)

    def tidy(_: int) -> None:
        with suppress(StaleState):  # another one was faster, which the reconciler's loop tolerates
            reconcile.reconcile(timed, SETTINGS, outbox)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(tidy, range(8)))
    assert states(timed, run) == [BatchState.PENDING] * 10
    with timed.reading() as session:
        handed_back = select(Event.row).where(Event.subject == "batches", Event.target == "pending")
        rows = list(session.execute(handed_back).scalars())
    assert len(rows) == len(set(rows)) == 10


def test_a_batch_that_was_left_is_taken_before_others_of_its_run(
    timed: Database, enqueue: Enqueue, clock: Clock, outbox: Outbox
) -> None:
    _, left, hinted = batch_ids(timed, enqueue(30).id)
    dispatch(timed, SETTINGS, outbox)
    assert claim(timed, left)
    with timed.transaction() as session:
        assert choose_batch(session, hinted, SETTINGS, now=clock.now) == hinted
    clock.forward(61)
    with timed.transaction() as session:
        attempts.release_expired(session, now=clock.now, settings=SETTINGS)
        assert choose_batch(session, hinted, SETTINGS, now=clock.now) == left
        assert choose_batch(session, left, SETTINGS, now=clock.now) == left
        waiting = session.execute(select(Batch.id).where(Batch.dispatched_at.is_(None)).order_by(Batch.id))
        assert list(waiting.scalars()) == [left, hinted]  # the hint for the one is used up
