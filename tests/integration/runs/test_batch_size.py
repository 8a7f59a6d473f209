"""Batches of whole problems: a solver with qubits charges a problem, however few images it carries."""

from __future__ import annotations

import pytest
from sqlalchemy import select, update

from producer.networks.chosen import ChosenNetwork
from producer.runs.batch_size import batch_size
from producer.runs.dry_runs import enqueue_dry_run
from producer.runs.enqueue import RunOptions, enqueue_run
from schema.database import Database
from schema.parameters import Parameters, Solver, Visible
from schema.states import EmbeddingState
from schema.tables import Batch, Embedding, Preparation
from tests.integration.conftest import some_images
from tests.integration.rows import add_chip, add_embedding

FOLDED = Parameters(visible=Visible.FOLDED)


def prepared(database: Database, network: ChosenNetwork, parameters: Parameters, tiles: int) -> int:
    """Insert an embedding that a dry run has found."""
    asked = enqueue_dry_run(database, network.id, Solver.EMULATOR, parameters, images=0, batch_size=1000)
    with database.transaction() as session:
        count = session.execute(select(Embedding.id)).all()
        found = add_embedding(session, add_chip(session, seed=len(count)), tiles=tiles)
        session.execute(update(Preparation).where(Preparation.id == asked).values(embedding_id=found))
    return found


def size(database: Database, network: ChosenNetwork, solver: Solver, parameters: Parameters) -> int:
    with database.reading() as session:
        return batch_size(session, network.id, solver, parameters, image_bytes=64)


def sizes(database: Database, run: int) -> list[int]:
    with database.reading() as session:
        query = select(Batch.count).where(Batch.run_id == run).order_by(Batch.ordinal)
        return list(session.execute(query).scalars())


def test_as_long_as_nothing_is_known_a_batch_has_the_usual_size(
    database: Database, network: ChosenNetwork
) -> None:
    assert size(database, network, Solver.LOCAL, Parameters()) == 100
    assert size(database, network, Solver.EMULATOR, Parameters()) == 1000
    assert size(database, network, Solver.EMULATOR, FOLDED) == 3000


@pytest.mark.parametrize(
    ("tiles", "expected"),
    [(1, 1000), (32, 992), (35, 1015), (124, 992), (314, 2512), (999, 7992), (2500, 10_000), (10_001, 1000)],
)
def test_whole_problems_come_nearest_to_a_thousand_images_but_eight_at_least(
    database: Database, network: ChosenNetwork, tiles: int, expected: int
) -> None:
    prepared(database, network, FOLDED, tiles)
    assert size(database, network, Solver.EMULATOR, FOLDED) == expected


def test_a_run_is_cut_into_whole_problems(database: Database, network: ChosenNetwork) -> None:
    prepared(database, network, FOLDED, 314)
    images = some_images(3000)
    run = enqueue_run(database, images, network, Solver.EMULATOR, FOLDED)
    assert sizes(database, run.id) == [2512, 488]
    chosen = enqueue_run(database, images, network, Solver.EMULATOR, FOLDED, RunOptions(batch_size=1500))
    assert sizes(database, chosen.id) == [1500, 1500]


def test_what_an_earlier_run_was_sampled_with_counts_too(database: Database, network: ChosenNetwork) -> None:
    run = enqueue_run(database, some_images(5), network, Solver.EMULATOR, FOLDED).id
    with database.transaction() as session:
        found = add_embedding(session, add_chip(session), tiles=90)
        session.execute(update(Batch).where(Batch.run_id == run).values(embedding_id=found))
    assert size(database, network, Solver.EMULATOR, FOLDED) == 990
    prepared(database, network, FOLDED, 314)  # a newer one
    assert size(database, network, Solver.EMULATOR, FOLDED) == 2512


def test_embeddings_of_something_else_do_not_count(database: Database, network: ChosenNetwork) -> None:
    found = prepared(database, network, FOLDED, 314)
    for other in (Parameters(), Parameters(qpu="tiny")):
        assert size(database, network, Solver.EMULATOR, other) == 1000
    assert size(database, network, Solver.EMULATOR, Parameters(visible=Visible.FOLDED, tiles=30)) == 990
    assert size(database, network, Solver.DWAVE, FOLDED) == 3000
    with database.transaction() as session:
        failed = {"state": EmbeddingState.FAILED, "error": "its chip is gone"}
        session.execute(update(Embedding).where(Embedding.id == found).values(failed))
    assert size(database, network, Solver.EMULATOR, FOLDED) == 3000
