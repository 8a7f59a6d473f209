"""Ends of failed attempts, the same for every kind of leased work."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import insert, select, update

from producer.doctor import relations
from producer.enqueued import Enqueued
from producer.networks.choose import ChosenNetwork
from schema.database import Database
from schema.settings.worker import WorkerSettings
from schema.states import ProblemState
from schema.tables import Batch, Calibration, Event, Network, Preparation, Problem
from tests.integration.conftest import START, Clock, network_row
from worker.records import attempts, claims, leases
from worker.records.retries import Discard, Retry

TABLES: list[Any] = [Batch, Network, Calibration, Preparation]


@pytest.fixture
def held(timed: Database, network: ChosenNetwork, enqueue: Callable[..., Enqueued]) -> dict[Any, int]:
    """Claim one row of each table for a minute."""
    made = {"network_id": network.id, "solver": "local", "created_at": START}
    rows: dict[Any, dict[str, Any]] = {
        Network: {**network_row(), "content_sha256": "1" * 64, "version": 2, "finished_at": None},
        Calibration: made
        | {"graph_id": "", "visible": "sampled", "name": "x", "images": 1, "image_digests": bytes(32)},
        Preparation: made | {"parameters": {}, "images": 1, "batch_size": 1, "time_limit_s": 1.0},
    }
    enqueue(10)
    with timed.transaction() as session:
        for table, row in rows.items():
            session.execute(insert(table).values({**row, "state": leases.STATES[table].waiting}))
        ids = {
            table: session.execute(select(table.id).order_by(table.id.desc())).scalars().first()
            for table in TABLES
        }
        now = timed.now(session)
        assert claims.claim_batch(session, ids[Batch], now=now, lease_s=60)
        for table in rows:
            assert claims.claim(session, table, ids[table], now=now, lease_s=60)
    return ids


def read(database: Database, table: Any, row: int) -> Any:
    with database.reading() as session:
        found = session.get_one(table, row)
        session.expunge(found)
        return found


def moves(database: Database, table: Any, row: int) -> list[tuple[str | None, str, str | None]]:
    with database.reading() as session:
        query = select(Event.source, Event.target, Event.why).where(
            Event.subject == table.__tablename__, Event.row == row
        )
        return [tuple(event) for event in session.execute(query.order_by(Event.id))][-2:]


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.__tablename__)
def test_work_that_is_discarded_has_failed_now(
    timed: Database, held: dict[Any, int], clock: Clock, table: Any
) -> None:
    clock.forward(5)
    with timed.transaction() as session:
        attempts.finish_attempt(session, table, held[table], Discard("no"), now=clock())
    row, states = read(timed, table, held[table]), leases.STATES[table]
    assert (row.state, row.error, row.lease_until, row.attempts) == (states.failed, "no", None, 1)
    if table is not Batch:
        assert row.finished_at == clock()
    assert moves(timed, table, held[table]) == [
        (states.waiting, states.held, None), (states.held, states.failed, "no"),
    ]  # fmt: skip


def test_a_batch_whose_workers_are_killed_while_it_waits_for_its_solver_uses_up_no_attempt(
    timed: Database, held: dict[Any, int], clock: Clock
) -> None:
    settings, batch = WorkerSettings(max_attempts=2), held[Batch]
    row = {"batch_id": batch, "ordinal": 0, "first_image": 0, "count": 2, "label": "annealq:1"}
    with timed.transaction() as session:
        sent = {"state": ProblemState.SENT, "sapi_id": "one", "reserved_at": clock(), "sent_at": clock()}
        session.execute(insert(Problem).values(**row, **sent))
    for hours, attempts_left in ((1, 2), (22, 2), (2, 1)):  # for a day: then the answer itself is suspected
        clock.forward(3600 * hours)
        with timed.transaction() as session:
            attempts.release_expired(session, now=clock(), settings=settings)
        assert read(timed, Batch, batch).attempts == 2 - attempts_left
        with timed.transaction() as session:
            assert claims.claim_batch(session, batch, now=clock(), lease_s=60)


@pytest.mark.parametrize("released", [False, True])
def test_a_batch_that_is_given_up_with_answers_is_scored_first(
    timed: Database, held: dict[Any, int], clock: Clock, *, released: bool
) -> None:
    batch, states = held[Batch], leases.STATES[Batch]
    with timed.transaction() as session:
        row = {"batch_id": batch, "ordinal": 0, "first_image": 0, "count": 2, "label": "annealq:1"}
        times = {"reserved_at": clock(), "answered_at": clock()}
        session.execute(insert(Problem).values(state=ProblemState.ANSWERED, **row, **times))
        if released:  # as when its deadline passes
            attempts.finish_attempt(session, Batch, batch, Retry(9.0, "busy"), now=clock())
        source = states.waiting if released else states.held
        assert (
            attempts.finish_attempt(session, Batch, batch, Discard("no"), now=clock(), source=source) is None
        )
        found = session.get_one(Batch, batch)
        assert (found.state, found.error, found.sampled_at) == (states.done, "no", clock())
        assert [finding.what for finding in relations.coverage(session)] == []


@pytest.mark.parametrize("counts", [True, False])
@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.__tablename__)
def test_work_that_is_retried_waits_and_is_not_finished(
    timed: Database, held: dict[Any, int], clock: Clock, table: Any, *, counts: bool
) -> None:
    with timed.transaction() as session:
        decision = Retry(9.0, "busy", counts=counts)
        assert attempts.finish_attempt(session, table, held[table], decision, now=clock()) is None
    row = read(timed, table, held[table])
    assert (row.state, row.error, row.lease_until) == (leases.STATES[table].waiting, "busy", None)
    assert row.attempts == int(counts)
    assert getattr(row, "finished_at", None) is None


@pytest.mark.parametrize("last", [2, 1])
@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.__tablename__)
def test_a_lease_that_expired_is_released_until_the_last_attempt(
    timed: Database, held: dict[Any, int], clock: Clock, table: Any, last: int
) -> None:
    clock.forward(61)
    with timed.transaction() as session:
        attempts.release_expired(session, now=clock(), settings=WorkerSettings(max_attempts=last))
    row, states = read(timed, table, held[table]), leases.STATES[table]
    assert row.state is (states.failed if last == 1 else states.waiting)
    assert row.error == "the worker fell silent during attempt 1"


def test_a_batch_whose_workers_are_killed_after_each_answer_uses_up_no_attempt(
    timed: Database, held: dict[Any, int], clock: Clock
) -> None:
    settings = WorkerSettings(max_attempts=2)
    batch, claimed_at = held[Batch], clock()
    with timed.transaction() as session:
        row = {"batch_id": batch, "ordinal": 0, "first_image": 0, "count": 2, "label": "annealq:1"}
        answer = {"state": ProblemState.ANSWERED, "reserved_at": clock(), "answered_at": clock()}
        session.execute(insert(Problem).values({**row, **answer}))
    for _ in range(5):
        clock.forward(61)
        with timed.transaction() as session:
            attempts.release_expired(session, now=clock(), settings=settings)
        released = read(timed, Batch, batch)
        assert (released.state, released.attempts) == (leases.STATES[Batch].waiting, 0)
        with timed.transaction() as session:
            assert claims.claim_batch(session, batch, now=clock(), lease_s=60)
            session.execute(update(Problem).values(answered_at=clock()))
    # Without an answer each counts, until there is one again.
    for count, answered_at in ((1, claimed_at), (0, None), (1, claimed_at), (2, claimed_at)):
        with timed.transaction() as session:
            session.execute(update(Problem).values(answered_at=answered_at or clock()))
            clock.forward(61)
            attempts.release_expired(session, now=clock(), settings=settings)
        assert read(timed, Batch, batch).attempts == count
        with timed.transaction() as session:
            claims.claim_batch(session, batch, now=clock(), lease_s=60)
    given_up = read(timed, Batch, batch)  # its answers are scored before it is marked failed
    assert (given_up.state, given_up.sampled_at) == (leases.STATES[Batch].done, clock())
    assert given_up.error == "the worker fell silent during attempt 2"
