"""Circuit breakers by solver and token, and how runs that wait are shown."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from sqlalchemy import select

from producer.enqueued import Enqueued
from producer.progress.stages import progress_of
from producer.runs import summary
from schema.database import Database
from schema.parameters import Solver
from schema.settings.tokens import account_of
from schema.settings.worker import WorkerSettings
from schema.tables import Breaker
from tests.integration.conftest import Cli, Clock
from worker.scheduling import circuit_breaker
from worker.scheduling.dispatch import choose_batches

SETTINGS = WorkerSettings(retry_base_s=0.5, probe_s=3, retry_limit_s=60, breaker_failures=3)
MINE, OTHER = "0a1b2c3d4e5f", "f5e4d3c2b1a0"


def fail(database: Database, batch: int, account: str = MINE, *, opens: bool = False) -> None:
    with database.transaction() as session:
        now = database.now(session)
        circuit_breaker.record_failure(
            session, "emulator", account, "no answer", batch=batch, now=now, settings=SETTINGS, opens=opens
        )


def failures(database: Database) -> dict[str, int]:
    with database.reading() as session:
        return dict(session.execute(select(Breaker.account, Breaker.failures)).all())


def test_failures_at_the_same_time_all_count(database: Database) -> None:
    with ThreadPoolExecutor(8) as pool:
        for done in [pool.submit(fail, database, batch) for batch in range(8)]:
            done.result()
    # Those after the limit say nothing new.
    assert failures(database) == {MINE: SETTINGS.breaker_failures}


def test_each_account_has_its_breaker(timed: Database, clock: Clock) -> None:
    fail(timed, 1, opens=True)
    fail(timed, 2, OTHER)
    assert failures(timed) == {MINE: 3, OTHER: 1}
    with timed.transaction() as session:
        assert set(circuit_breaker.find_all(session, lambda _: OTHER)) == {"emulator"}
        assert circuit_breaker.find_all(session, lambda _: "") == {}
        assert circuit_breaker.find_all(session)["emulator"].failures == 3
        circuit_breaker.record_success(session, "emulator", OTHER, batch=2, now=clock.now)
    assert failures(timed) == {MINE: 3}
    # The turn of the first account has come, and another token is answered: it may have been replaced.
    clock.forward(3)
    with timed.transaction() as session:
        circuit_breaker.record_success(session, "emulator", OTHER, batch=2, now=clock.now)
    assert failures(timed) == {}


def test_a_worker_with_another_token_is_given_all_batches(
    timed: Database, enqueue: Callable[..., Enqueued]
) -> None:
    enqueue(30, batch_size=10, solver=Solver.EMULATOR)
    fail(timed, 99, opens=True)
    for account, batches in ((MINE, 0), (OTHER, 3)):
        with timed.transaction() as session:
            now = timed.now(session)
            chosen = choose_batches(session, SETTINGS, lambda _, own=account: own, now=now, after_s=60)
            assert len(chosen) == batches
            session.rollback()


def test_a_run_says_what_it_waits_for_and_until_when(
    timed: Database, cli: Cli, clock: Clock, enqueue: Callable[..., Enqueued]
) -> None:
    run = enqueue(10, solver=Solver.EMULATOR).id
    here = enqueue(10, seed=2).id
    fail(timed, 1)
    with timed.reading() as session:
        assert progress_of(session, run, timed.now(session)).waits is None  # it is tried again within seconds
    fail(timed, 1, opens=True)
    text = (
        "solver emulator has failed since 2026-01-01 00:00:00 UTC: no answer; "
        "it is asked again at 00:00:03, and the run continues automatically"
    )
    with timed.reading() as session:
        assert progress_of(session, run, timed.now(session)).waits == text
        shown = summary.run_object(session, run)
        assert shown["waits"] == text
        assert shown["outage"]["retry_at"] == "2026-01-01T00:00:03+00:00"
        assert summary.run_object(session, here, timed.now(session))["outage"] is None
    assert " ".join(cli("runs", "show", run).split()).count(text) == 1
    assert " ".join(cli("runs", "list").split()).count(text) == 1
    listed = {entry["run_id"]: entry["waits"] for entry in json.loads(cli("runs", "list", "--json"))}
    assert listed == {run: text, here: None}


def test_an_account_says_nothing_about_its_token() -> None:
    assert account_of(None) == account_of("") == ""
    assert len(account_of("secret")) == 12
    assert account_of("secret") != account_of("secrets")
