"""Statistics of a run on a solver with qubits, from the rows of the ledger."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from sqlalchemy import insert, select, update

from producer.enqueued import Enqueued
from producer.networks.chosen import ChosenNetwork
from producer.runs.enqueue import RunOptions, enqueue_run
from schema.database import Database
from schema.database.crash_points import CrashPoint
from schema.database.leader_lease import lead, release
from schema.parameters import Parameters, Solver
from schema.states import BatchState, ProblemState, RunState
from schema.tables import Batch, Leader, Problem, Run, SampleSet
from tests.integration.conftest import START, some_images
from tests.integration.rows import add_chip, add_embedding
from worker.context import Context
from worker.pipeline.finish_run import finish_run

TIMING = {
    "qpu_programming_time": 14_000.0,
    "qpu_sampling_time": 2_000.0,
    "qpu_access_time": 16_000.0,
    "qpu_access_overhead_time": 900.0,
    "qpu_anneal_time_per_sample": 20.0,
    "qpu_readout_time_per_sample": 60.0,
    "qpu_delay_time_per_sample": 20.0,
}


@pytest.fixture
def run(database: Database, network: ChosenNetwork) -> Enqueued:
    images, options = some_images(20), RunOptions(batch_size=10)
    return enqueue_run(database, images, network, Solver.EMULATOR, Parameters(reads=20), options)


def finished(context: Context, run: int, *searched_s: float) -> dict[str, Any]:
    """Return the run's statistics; its batches are marked as scored without an annealer."""
    stamps = {f"{name}_at": START + timedelta(seconds=k) for k, name in enumerate(STAMPS)}
    with context.database.transaction() as session:
        embedding = add_embedding(session, add_chip(session), seconds=12.5)
        batches = session.execute(select(Batch.id).where(Batch.run_id == run).order_by(Batch.id)).scalars()
        for batch, searched in zip(list(batches), searched_s, strict=True):
            values = {"state": BatchState.SCORED, "embedding_id": embedding, "embedding_s": searched}
            session.execute(update(Batch).where(Batch.id == batch).values(**values, **stamps))
        session.execute(
            update(Run)
            .where(Run.id == run)
            .values(state=RunState.RUNNING, batches_scored=len(searched_s), started_at=START)
        )
    finish_run(context, run)
    with context.database.reading() as session:
        statistics = session.execute(select(Run.statistics).where(Run.id == run)).scalar_one()
    assert statistics is not None
    return statistics


STAMPS = ("started", "sampled", "scored")


def add_problems(database: Database, run: int) -> None:
    """Insert a plain problem, one that was sent twice and adopted, one duplicated, and one refused."""
    breaks = np.array([[0.0, 0.5]] * 10, dtype="<f4").tobytes()
    answered = {
        "state": ProblemState.ANSWERED,
        "times_sent": 1,
        "estimated_us": 16_100,
        "charged_us": 16_000,
        "timing": TIMING,
        "sent_at": START,
        "answered_at": START,
    }
    rows = [
        {**answered, "chain_breaks": breaks},
        {**answered, "times_sent": 2, "adopted": True},
        {**answered, "duplicates": 1, "wasted_us": 16_000},
        {"state": ProblemState.FAILED, "times_sent": 1, "error": "refused", "sending_at": START},
        {"state": ProblemState.CANCELLED},
    ]
    with database.transaction() as session:
        batch = session.execute(select(Batch.id).where(Batch.run_id == run)).scalars().first()
        for ordinal, row in enumerate(rows):
            values = {"batch_id": batch, "ordinal": ordinal, "first_image": 0, "count": 10}
            values |= {"label": f"annealq:{ordinal}", "reserved_at": START}
            statement = insert(Problem).values({**values, **row}).returning(Problem.id)
            problem = session.execute(statement).scalar_one()
            if row["state"] is ProblemState.ANSWERED:
                sampled = {"problem_id": problem, "codec": 1, "reads": 20, "variables": 2}
                session.execute(insert(SampleSet).values(**sampled, data=b""))


def test_the_ledger_s_figures_are_added_up(context: Context, run: Enqueued) -> None:
    add_problems(context.database, run.id)
    figures = finished(context, run.id, 0.0, 0.0)
    assert (figures["problems_sent"], figures["problems_adopted"]) == (3, 1)
    assert (figures["problems_resubmitted"], figures["duplicates"]) == (1, 1)
    assert figures["qpu_access_time_us"] == 48_000
    assert figures["qpu_access_time_us_per_image"] == 2_400
    assert (figures["qpu_estimated_us"], figures["qpu_wasted_us"]) == (48_300, 16_000)
    assert figures["solver_time_us"] == {
        "programming": 42_000,
        "sampling": 6_000,
        "anneal": 3 * 20 * 20,
        "readout": 3 * 20 * 60,
        "delay": 3 * 20 * 20,
        "overhead": 2_700,
    }
    assert figures["chain_breaks"] == {"mean": 0.25, "worst_unit": 1, "worst": 0.5}


def test_what_a_stored_embedding_saved_counts_once(context: Context, run: Enqueued) -> None:
    figures = finished(context, run.id, 0.0, 0.0)
    assert (figures["embedding_hits"], figures["embedding_misses"]) == (2, 0)
    assert figures["embedding_seconds_saved"] == 12.5


def test_a_run_that_had_to_search_saved_nothing(context: Context, run: Enqueued) -> None:
    figures = finished(context, run.id, 12.6, 0.0)
    assert (figures["embedding_hits"], figures["embedding_misses"]) == (1, 1)
    assert figures["embedding_seconds_saved"] == 0.0
    assert figures["chain_breaks"] is None


def test_one_worker_computes_the_statistics_of_a_run(context: Context, run: Enqueued) -> None:
    """Hints are repeated while the statistics of a large run are computed: other workers leave it alone."""
    database = context.database
    with database.transaction() as session:
        lead(session, f"run {run.id}", "another", now=database.now(session), lease_s=60)
        session.execute(update(Run).where(Run.id == run.id).values(state=RunState.RUNNING, batches_scored=2))
    finish_run(context, run.id)
    with database.transaction() as session:
        assert session.execute(select(Run.state)).scalar_one() is RunState.AGGREGATING
        release(session, f"run {run.id}", "another")
    finish_run(context, run.id)
    with database.reading() as session:
        assert session.execute(select(Run.state)).scalar_one() is RunState.DONE
        assert not session.execute(select(Leader.role)).all(), "its lease has ended with it"


def test_a_worker_that_fails_leaves_the_statistics_to_others(
    context: Context, run: Enqueued, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_point: CrashPoint) -> None:
        raise KeyboardInterrupt

    with context.database.transaction() as session:
        session.execute(update(Run).where(Run.id == run.id).values(state=RunState.RUNNING, batches_scored=2))
    monkeypatch.setattr("worker.pipeline.finish_run.reach", fail)
    with pytest.raises(KeyboardInterrupt):
        finish_run(context, run.id)
    with context.database.reading() as session:
        assert not session.execute(select(Leader.role)).all()
