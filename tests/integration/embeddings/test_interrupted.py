"""A search for an embedding whose worker dies or stops: the next worker continues it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from sqlalchemy import insert, select, update

from producer.networks.chosen import ChosenNetwork
from producer.runs.enqueue import RunOptions, enqueue_run
from schema.codecs.tiling import Tiling
from schema.database import Database
from schema.errors import Deferred, Refused
from schema.parameters import Parameters, Solver
from schema.settings.worker import WorkerSettings
from schema.states import BatchState, EmbeddingState, ProblemState
from schema.tables import Batch, Embedding, Problem
from tests.integration.conftest import START, Clock, some_images
from tests.integration.rows import TILES, add_chip
from worker.embedding.model.found import FoundTiling
from worker.embedding.model.graphs import Interactions
from worker.records import attempts, claims, embeddings
from worker.records.embeddings import EmbeddingRequest, SearchJob

MODEL = Interactions((2, 1), np.array([[0, 2], [1, 2]], dtype=np.int32), "model")
SETTINGS = WorkerSettings(max_attempts=2, lease_s=60)
Obtain = Callable[[embeddings.Search], None]


class Killed(BaseException):
    """The worker dies: nothing more is written."""


@pytest.fixture
def obtain(timed: Database) -> Obtain:
    with timed.transaction() as session:
        chip = add_chip(session)
    request = EmbeddingRequest(chip, MODEL, 0, "model")

    def obtain(search: embeddings.Search) -> None:
        embeddings.obtain(timed, request, search, lease_s=SETTINGS.lease_s)

    return obtain


def test_a_killed_search_is_continued_from_its_best(timed: Database, clock: Clock, obtain: Obtain) -> None:
    def killed(job: SearchJob) -> FoundTiling:
        assert job.found is None
        job.save(TILES)
        raise Killed

    with pytest.raises(Killed):
        obtain(killed)
    with timed.transaction() as session:
        session.execute(update(Embedding).values(seconds=41.0))
    clock.forward(61)
    seen: list[tuple[Tiling, float] | None] = []

    def lasting(job: SearchJob) -> FoundTiling:
        seen.append(job.found)
        return FoundTiling(TILES, "resumed", 42.0, 0)

    obtain(lasting)
    assert seen[0] is not None
    assert seen[0][0].tiles == TILES.tiles
    assert seen[0][1] == 41.0
    with timed.reading() as session:
        row = session.execute(select(Embedding)).scalar_one()
        assert (row.state, row.seconds, row.method) == (EmbeddingState.READY, 42.0, "resumed")


def test_a_worker_that_stops_does_not_fail_the_search(timed: Database, obtain: Obtain, clock: Clock) -> None:
    def stopped(job: SearchJob) -> FoundTiling:
        job.save(TILES)
        raise Deferred("the worker was stopped")

    with pytest.raises(Deferred):
        obtain(stopped)
    clock.forward(0.1)
    seen: list[SearchJob] = []

    def lasting(job: SearchJob) -> FoundTiling:
        seen.append(job)
        return FoundTiling(TILES, "resumed", 1.0, 0)

    obtain(lasting)
    assert seen[0].found is not None


def test_a_search_that_was_taken_over_writes_nothing_more(
    timed: Database, clock: Clock, obtain: Obtain
) -> None:
    def slow(job: SearchJob) -> FoundTiling:
        clock.forward(61)
        obtain(lambda _: FoundTiling(TILES, "window", 1.0, 0))  # another worker
        job.save(TILES)
        raise AssertionError("it goes on without a lease")

    obtain(slow)  # it waits for the other's result
    with timed.reading() as session:
        assert session.execute(select(Embedding.method)).scalar_one() == "window"


def test_a_search_that_failed_starts_from_scratch(timed: Database, clock: Clock, obtain: Obtain) -> None:
    def failing(job: SearchJob) -> FoundTiling:
        job.save(TILES)
        raise Refused("no embedding")

    with pytest.raises(Refused):
        obtain(failing)
    clock.forward(601)
    seen: list[SearchJob] = []

    def lasting(job: SearchJob) -> FoundTiling:
        seen.append(job)
        return FoundTiling(TILES, "window", 1.0, 0)

    obtain(lasting)
    assert seen[0].found is None


def test_kills_during_a_search_that_progresses_count_no_attempt(
    timed: Database, clock: Clock, network: ChosenNetwork, obtain: Obtain
) -> None:
    options = RunOptions(batch_size=10)
    images = some_images(10)
    for solver, parameters in ((Solver.EMULATOR, Parameters(qpu="another")), (Solver.LOCAL, Parameters())):
        enqueue_run(timed, images, network, solver, parameters, options)

    def die(*, saves: bool) -> dict[int, tuple[str, int]]:
        """Claim both batches, kill their worker while it searches, and let the leases expire."""
        with timed.transaction() as session:
            session.execute(update(Batch).values(state=BatchState.PENDING, lease_until=None))
            for batch in (1, 2):
                assert claims.claim_batch(session, batch, now=clock.now, lease_s=60)

        def killed(job: SearchJob) -> FoundTiling:
            if saves:
                job.save(TILES)
            raise Killed

        with pytest.raises(Killed):
            obtain(killed)
        clock.forward(61)
        with timed.transaction() as session:
            attempts.release_expired(session, now=clock.now, settings=SETTINGS)
            rows = session.execute(select(Batch.id, Batch.state, Batch.attempts)).all()
        clock.forward(1)
        return {row.id: (row.state, row.attempts) for row in rows}

    for _ in range(4):
        pending, local = die(saves=True).values()
        assert pending == (BatchState.PENDING, 0)
        with timed.transaction() as session:
            session.execute(update(Batch).where(Batch.id == 2).values(attempts=0))
    assert local == (BatchState.PENDING, 1)  # the search is not what it works on
    assert die(saves=False)[1] == (BatchState.PENDING, 1)  # it makes no progress any more
    with timed.transaction() as session:
        values = {"batch_id": 1, "ordinal": 0, "first_image": 0, "count": 1, "label": "a"}
        state = {"state": ProblemState.RESERVED, "reserved_at": START}
        session.execute(insert(Problem).values(**values, **state))
        session.execute(update(Batch).values(attempts=0))
    assert die(saves=True)[1] == (BatchState.PENDING, 1)  # it has its embedding
