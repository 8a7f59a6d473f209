"""The reconciler, and the checks before each problem, with 10,000 batches queued and 50,000 problems.

    python -m pytest -m bench -s tests/benchmarks/test_full_queue.py

`tests/benchmarks/full_queue.py` describes the queue. Measured on 2 cores: a pass 0.13 s on SQLite and 0.36
s on PostgreSQL, with 500 batches of dead workers 0.29 and 0.10 s; choosing the next 32 batches, at most
once per 16 claims, 31 and 40 ms. The check before up to 20 problems are submitted takes 4.6 and 5.8 ms (the
fastest of several measurements).
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select, update

from schema.database import Database
from schema.settings.worker import WorkerSettings
from schema.states import BatchState, RunState
from schema.tables import Batch, Run
from tests.benchmarks.conftest import Record
from tests.benchmarks.full_queue import fill
from tests.integration.conftest import Outbox
from worker.reconcile import reconcile
from worker.scheduling import admission
from worker.scheduling.dispatch import choose_batch, choose_batches

pytestmark = [pytest.mark.bench, pytest.mark.timeout(900)]

SETTINGS = WorkerSettings(solver_in_flight=900, day_budget_s=1e6)
DEAD = 500  # batches whose worker has died, and as many whose hint to score them is lost
TIMES = 5


class Later:
    """The time, moved on so that every hint counts as lost again."""

    def __init__(self) -> None:
        self.by = timedelta()

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.by

    def forward(self) -> None:
        self.by += timedelta(seconds=2 * SETTINGS.rehint_s)


def seconds(measured: Callable[[], object]) -> float:
    start = time.perf_counter()
    measured()
    return time.perf_counter() - start


def drop_everything(database: Database) -> None:
    """Every worker dies, and every hint is lost: the worst that a pass may find."""
    with database.transaction() as session:
        now = database.now(session)
        waiting = select(Batch.id).join(Run).where(Run.state == RunState.RUNNING)
        ids = session.execute(waiting.where(Batch.state == BatchState.PENDING)).scalars().all()
        dead = {"state": BatchState.SAMPLING, "lease_until": now - timedelta(seconds=1), "attempts": 1}
        session.execute(update(Batch).where(Batch.id.in_(ids[:DEAD])).values(dead))
        lost = {"state": BatchState.SAMPLED, "sampled_at": now}
        session.execute(update(Batch).where(Batch.id.in_(ids[DEAD : 2 * DEAD])).values(lost))


def test_a_full_queue(record: Record, database_url: str) -> None:
    kind = "SQLite" if database_url.startswith("sqlite") else "PostgreSQL"
    filled = Database(database_url)
    runs = fill(filled)
    filled.dispose()
    clock, outbox = Later(), Outbox()
    checks: list[float] = []
    database = Database(database_url, clock)

    def a_pass() -> None:
        clock.forward()
        reconcile(database, SETTINGS, outbox)

    def a_turn() -> None:
        clock.forward()
        with database.transaction() as session:
            chosen = choose_batches(session, SETTINGS, now=database.now(session), after_s=SETTINGS.rehint_s)
        assert len(chosen) == SETTINGS.waiting_hints

    def a_claim() -> None:
        with database.transaction() as session:
            choose_batch(session, batch, SETTINGS, now=database.now(session))

    def an_admission() -> None:
        with database.transaction() as session:
            now = database.now(session)
            run, graph = runs["large"][0], "0" * 64
            checks.append(seconds(lambda: admission.read_usage(session, run, "q", graph, SETTINGS, now=now)))

    with filled.reading() as session:
        batch = session.execute(select(Batch.id).where(Batch.run_id == runs["live"][0]).limit(1)).scalar_one()
    first_s = seconds(a_pass)
    later_s = statistics.median(seconds(a_pass) for _ in range(TIMES))
    turn_s = statistics.median(seconds(a_turn) for _ in range(TIMES))
    claim_s = statistics.median(seconds(a_claim) for _ in range(TIMES))
    for _ in range(4 * TIMES):
        an_admission()
    drop_everything(database)
    outbox.take()
    worst_s = seconds(a_pass)
    assert len(outbox.take()) >= DEAD
    database.dispose()
    filled.dispose()
    record(
        f"reconciler, 10,000 batches and 50,000 problems, first pass, {kind}", first_s, "s", 1, at_least=False
    )
    record(f"the same, a pass in which every hint is lost, {kind}", later_s, "s", 1, at_least=False)
    record(f"the same, {DEAD} batches of dead workers, {kind}", worst_s, "s", at_least=False)
    record(f"choosing 32 batches of 98 runs, {kind}", 1e3 * turn_s, "ms", at_least=False)
    record(f"looking for a more urgent batch, {kind}", 1e3 * claim_s, "ms", at_least=False)
    record(
        f"admitting problems under two budgets, {kind}",
        1e3 * min(checks),
        "ms",
        5,
        at_least=False,
    )
