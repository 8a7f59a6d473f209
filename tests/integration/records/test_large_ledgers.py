"""What is read for one run does not take longer where the database has many problems of others.

SQLite counts the instructions of its queries: the same number on every machine.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from sqlalchemy import func, insert, select
from sqlalchemy.orm import Session

from producer.dashboard.report import run_facts
from producer.enqueued import Enqueued
from producer.networks.chosen import ChosenNetwork
from producer.progress.stages import progress_of
from producer.runs import qpus, queries
from producer.runs.enqueue import RunOptions, enqueue_run
from schema.database import Database
from schema.messages import Message, Task
from schema.parameters import Parameters, Solver
from schema.states import ProblemState
from schema.tables import Batch, Problem, SampleSet
from tests.integration.conftest import START, some_images, work_off
from tests.integration.rows import add_chip, add_embedding
from worker.context import Context
from worker.records import attempts, batches, measurements
from worker.records.certainty import guarantees

OTHERS = 1_000  # problems of another run
READ: dict[str, Callable[[Session, int, int], object]] = {
    "answers of a batch": lambda session, _run, batch: batches.load_samples(session, batch),
    "tiling of a batch": lambda session, _run, batch: batches.load_tiling(session, batch),
    "is a batch answered": lambda session, _run, batch: attempts._is_answered(session, batch),
    "checks of a batch": lambda session, _run, batch: measurements.of_batch(session, batch, 1, 1),
    "checks of a run": lambda session, run, _batch: guarantees.measured_of(session, run),
    "QPUs": lambda session, run, _batch: qpus.uses(session, run, None),
    "QPUs of images": lambda session, run, _batch: qpus.of_images(session, run, 0, None),
    "progress": lambda session, run, _batch: progress_of(session, run, START),
    "provenance": lambda session, run, _batch: run_facts.provenance(session, queries.run(session, run)),
}


def instructions(database: Database, read: Callable[[Session], object]) -> int:
    """Return how many instructions SQLite takes for the queries of ``read``."""
    count = 0

    def step() -> int:
        nonlocal count
        count += 1
        return 0

    with database.reading() as session:
        connection: Any = session.connection().connection.driver_connection
        connection.set_progress_handler(step, 1)
        try:
            read(session)
        finally:
            connection.set_progress_handler(None, 0)
    return count


def add_problems(session: Session, batch: int, embedding: int, count: int) -> None:
    """Add so many answered problems of one image to ``batch``."""
    first = session.execute(select(func.count()).where(Problem.batch_id == batch)).scalar_one()
    rows = [
        {
            "batch_id": batch,
            "ordinal": first + k,
            "first_image": 0,
            "count": 1,
            "label": f"annealq:{batch}-{first + k}",
            "embedding_id": embedding,
            "graph_id": "0" * 64,
            "qpu": "tiny",
            "state": ProblemState.ANSWERED,
            "times_sent": 1,
            "measured": {"beta": 2.0},
            "charged_us": 5.0,
            "reserved_at": START,
            "sending_at": START,
            "answered_at": START,
        }
        for k in range(count)
    ]
    session.execute(insert(Problem), rows)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("name", READ)
def test_problems_of_other_runs_are_not_read(
    database: Database, enqueue: Callable[..., Enqueued], name: str
) -> None:
    mine, other = (enqueue(10, seed=seed, solver=Solver.EMULATOR, batch_size=10).id for seed in range(2))
    with database.transaction() as session:
        batch, of_other = (
            session.execute(select(Batch.id).where(Batch.run_id == run)).scalar_one() for run in (mine, other)
        )
        embedding = add_embedding(session, add_chip(session))
        add_problems(session, batch, embedding, 3)
        problems = session.execute(select(Problem.id).where(Problem.batch_id == batch)).scalars().all()
        stored = [{"problem_id": k, "codec": 1, "reads": 10, "variables": 3, "data": b""} for k in problems]
        session.execute(insert(SampleSet), stored)
        add_problems(session, of_other, embedding, 1)
    before = instructions(database, lambda session: READ[name](session, mine, batch))
    with database.transaction() as session:
        add_problems(session, of_other, embedding, OTHERS)
    after = instructions(database, lambda session: READ[name](session, mine, batch))
    assert after < before + OTHERS / 2, f"{before} instructions, and {after} among {OTHERS} other problems"


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_list_does_not_count_the_images_of_finished_runs(context: Context, working: ChosenNetwork) -> None:
    read: list[int] = []
    for count in (20, 1_000):
        options = RunOptions(batch_size=count)
        run = enqueue_run(
            context.database, some_images(count), working, Solver.LOCAL, Parameters(reads=2), options
        )
        work_off(context, Message(Task.DISPATCH))
        with context.database.reading() as session:
            row, counts = queries.run(session, run.id), queries.counts(session, run.id)
            assert counts.labelled == count
            assert queries.accuracies(session, [row]) == {run.id: counts.accuracy}
        read.append(instructions(context.database, partial(queries.accuracies, runs=[row])))
    assert read[0] == read[1]
