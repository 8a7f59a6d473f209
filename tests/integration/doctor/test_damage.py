"""Errors about flipped bytes in the database name the row and what to do."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.orm import InstrumentedAttribute

from producer.calibration.enqueue import count_trained_on, newest_calibration
from producer.embeddings import chips
from producer.embeddings import queries as embeddings_queries
from producer.networks import versions
from producer.networks.chosen import ChosenNetwork
from producer.networks.training import enqueue_training
from producer.runs import queries, summary
from producer.runs.enqueue import RunOptions, enqueue_run
from schema.codecs import arrays, image_digests
from schema.database import Database
from schema.errors import Corrupt
from schema.messages import Message, Task
from schema.network.architecture import preset
from schema.parameters import Origin, Parameters, Solver
from schema.states import BatchState, CalibrationState, NetworkState, RunState
from schema.tables import (
    Batch,
    BatchImages,
    Calibration,
    Chip,
    Classification,
    Embedding,
    Network,
    Problem,
    SampleSet,
    TrainingSet,
)
from tests.chips import chip as make_graph
from tests.integration.conftest import START, Outbox, some_images, work_off
from tests.integration.rows import TILES, add_chip, add_embedding
from tests.trained import tiny
from worker.context import Context
from worker.embedding.model.found import FoundTiling
from worker.embedding.model.graphs import Interactions
from worker.pipeline.finish_run import finish_run
from worker.pipeline.sample_batch import sample_batch
from worker.pipeline.score_batch import score_batch
from worker.pipeline.train import train_network
from worker.records import embeddings as records_embeddings

MODEL = Interactions((2, 1), np.array([[0, 2], [1, 2]], dtype=np.int32), "1" * 64)
SAID = r"restore the database from a backup, or .*`annealq doctor`"


def flip(database: Database, column: InstrumentedAttribute[Any], row: Any, byte: int = -1) -> bytes:
    """Flip one bit of a stored blob; returns what it was."""
    with database.transaction() as session:
        before: bytes = session.execute(select(column).where(row)).scalar_one()
        after = bytearray(before)
        after[byte] ^= 0x10
        session.execute(update(column.class_).where(row).values({column.key: bytes(after)}))
    return before


def enqueue(context: Context, network: ChosenNetwork) -> int:
    """25 labelled images in 3 batches."""
    options = RunOptions(batch_size=10)
    return enqueue_run(
        context.database, some_images(25), network, Solver.LOCAL, Parameters(reads=8), options
    ).id


def batch(database: Database, run: int, ordinal: int = 1) -> int:
    with database.reading() as session:
        query = select(Batch.id).where(Batch.run_id == run, Batch.ordinal == ordinal)
        return session.execute(query).scalar_one()


def assert_only_one_failed(database: Database, run: int, named: str) -> None:
    with database.reading() as session:
        rows = session.execute(
            select(Batch.state, Batch.error).where(Batch.run_id == run).order_by(Batch.ordinal)
        ).all()
        images = session.execute(select(Classification.image).where(Classification.run_id == run)).scalars()
        assert sorted(images) == [*range(10), *range(20, 25)]
        assert queries.run(session, run).state is RunState.FAILED
    assert [row.state for row in rows] == [BatchState.SCORED, BatchState.FAILED, BatchState.SCORED]
    with pytest.raises(Corrupt, match=f"{named}.*{SAID}"):
        raise Corrupt(rows[1].error)


@pytest.mark.parametrize("column", [BatchImages.images, BatchImages.labels])
@pytest.mark.parametrize("sampled", [False, True], ids=["before sampling", "before scoring"])
def test_a_damaged_batch_fails_and_the_others_go_on(
    context: Context, working: ChosenNetwork, column: InstrumentedAttribute[Any], sampled: bool
) -> None:
    run = enqueue(context, working)
    damaged = batch(context.database, run)
    if sampled:
        sample_batch(context, damaged)
    flip(context.database, column, BatchImages.batch_id == damaged)
    work_off(context, Message(Task.DISPATCH), Message(Task.AGGREGATE_BATCH, damaged))
    assert_only_one_failed(context.database, run, f"batch {damaged} of run {run}")


@pytest.mark.parametrize("sampled", [False, True], ids=["before sampling", "before scoring"])
def test_a_batch_whose_images_are_gone_fails_and_the_others_go_on(
    context: Context, working: ChosenNetwork, sampled: bool
) -> None:
    run = enqueue(context, working)
    robbed = batch(context.database, run)
    if sampled:
        sample_batch(context, robbed)
    with context.database.transaction() as session:
        session.execute(delete(BatchImages).where(BatchImages.batch_id == robbed))
    work_off(context, Message(Task.DISPATCH), Message(Task.AGGREGATE_BATCH, robbed))
    assert_only_one_failed(context.database, run, f"batch {robbed} of run {run}")


def test_labels_of_earlier_versions_are_still_read(context: Context, working: ChosenNetwork) -> None:
    run = enqueue(context, working)
    with context.database.transaction() as session:
        for held in session.execute(select(BatchImages)).scalars():
            held.images_sha256 = arrays.checksum(held.images)
        session.flush()
    work_off(context, Message(Task.DISPATCH))
    with context.database.reading() as session:
        assert queries.run(session, run).state is RunState.DONE


@pytest.mark.parametrize("byte", [0, 30, 40, -1])
def test_damaged_samples_fail_their_batch(context: Context, working: ChosenNetwork, byte: int) -> None:
    run = enqueue(context, working)
    damaged = batch(context.database, run)
    sample_batch(context, damaged)
    with context.database.reading() as session:
        problem = session.execute(select(Problem.id).where(Problem.batch_id == damaged)).scalar_one()
    flip(context.database, SampleSet.data, SampleSet.problem_id == problem, byte)
    work_off(context, Message(Task.DISPATCH), Message(Task.AGGREGATE_BATCH, damaged))
    assert_only_one_failed(context.database, run, f"sample set of problem {problem}")


def test_a_damaged_tiling_fails_the_batch_that_was_sampled_on_it(
    context: Context, working: ChosenNetwork
) -> None:
    run = enqueue(context, working)
    damaged = batch(context.database, run)
    sample_batch(context, damaged)
    with context.database.transaction() as session:
        embedding = add_embedding(session, add_chip(session))
        session.execute(update(Problem).where(Problem.batch_id == damaged).values(embedding_id=embedding))
        problem = session.execute(select(Problem.id).where(Problem.batch_id == damaged)).scalar_one()
    flip(context.database, Embedding.tiling, Embedding.id == embedding)
    work_off(context, Message(Task.DISPATCH), Message(Task.AGGREGATE_BATCH, damaged))
    assert_only_one_failed(context.database, run, f"tiling that problem {problem} was sent with")


@pytest.mark.parametrize("sampled", [False, True], ids=["before sampling", "before scoring"])
def test_damaged_weights_fail_the_run_and_leave_nothing_to_do(
    database: Database, context: Context, working: ChosenNetwork, outbox: Outbox, sampled: bool
) -> None:
    run = enqueue(context, working)
    if sampled:
        for ordinal in range(3):
            sample_batch(context, batch(database, run, ordinal))
        outbox.take()
    flip(database, Network.weights, Network.id == working.id)
    fresh = Context(database, context.settings, outbox)
    scoring = [Message(Task.AGGREGATE_BATCH, batch(database, run, ordinal)) for ordinal in range(3)]
    work_off(fresh, *(scoring if sampled else [Message(Task.DISPATCH)]))
    with database.reading() as session:
        shown = queries.run(session, run)
        states = session.execute(select(Batch.state).where(Batch.run_id == run)).scalars().all()
    assert shown.state is RunState.FAILED
    assert states == [BatchState.FAILED] * 3
    with pytest.raises(Corrupt, match=f"weights of network {working.id}.*{SAID}"):
        raise Corrupt(shown.error)


def test_a_damaged_training_set_fails_the_training_and_the_same_images_mend_it(
    database: Database, context: Context
) -> None:
    images = some_images(40)

    def train() -> int:
        return enqueue_training(database, preset("digits"), images, transfer="energy", seed=0, epochs=1).id

    network = train()
    for column in (TrainingSet.labels, TrainingSet.images):
        flip(database, column, TrainingSet.id == 1)
        train_network(context, network)
        with database.reading() as session:
            row = session.execute(select(Network.state, Network.error)).one()
            with pytest.raises(Corrupt, match=f"training set 1.*{SAID}"):
                count_trained_on(session, network, images)
        assert row.state is NetworkState.FAILED
        with pytest.raises(Corrupt, match=f"training set 1.*{SAID}"):
            raise Corrupt(row.error)
        assert train() == network
    train_network(context, network)
    with database.reading() as session:
        assert session.execute(select(Network.state)).scalar_one() is NetworkState.READY
        assert count_trained_on(session, network, images) == 40


def test_weights_that_are_imported_again_mend_the_row(database: Database) -> None:
    held = tiny("digits")
    network = versions.install(database, held, Origin.IMPORTED).id
    before = flip(database, Network.weights, Network.id == network)
    assert not versions.install(database, held, Origin.IMPORTED).created
    with database.reading() as session:
        assert session.execute(select(Network.weights)).scalar_one() == before


def test_damaged_scores_are_not_shown(context: Context, working: ChosenNetwork) -> None:
    run = enqueue(context, working)
    work_off(context, Message(Task.DISPATCH))
    for byte in (0, 20, -1):
        before = flip(context.database, Classification.scores, Classification.image == 7, byte)
        with (
            context.database.reading() as session,
            pytest.raises(Corrupt, match=f"run {run}.*scores.*damaged.*{SAID}"),
        ):
            summary.mean_scores(session, run, 10)
        with context.database.transaction() as session:
            session.execute(update(Classification).where(Classification.image == 7).values(scores=before))
    with context.database.reading() as session:
        assert summary.mean_scores(session, run, 10).shape == (10, 10)


def test_damaged_shares_of_broken_chains_end_the_run_with_their_error(
    context: Context, working: ChosenNetwork
) -> None:
    run = enqueue(context, working)
    for ordinal in range(3):
        sample_batch(context, batch(context.database, run, ordinal))
        score_batch(context, batch(context.database, run, ordinal))
    with context.database.transaction() as session:
        shares = arrays.encode_chain_breaks(np.full((10, 50), 0.25))
        first = Problem.batch_id == session.execute(select(func.min(Batch.id))).scalar_one()
        session.execute(update(Problem).where(first).values(chain_breaks=shares, times_sent=1))
    flip(context.database, Problem.chain_breaks, first, 60)
    finish_run(context, run)
    with context.database.reading() as session:
        shown = queries.run(session, run)
        kept = session.execute(select(func.count()).select_from(Classification)).scalar_one()
    assert (shown.state, kept) == (RunState.FAILED, 25)
    with pytest.raises(Corrupt, match=f"run {run}.*broken chains.*runs rescore {run}"):
        raise Corrupt(shown.error)


def test_a_damaged_graph_is_named_and_mended_when_the_solver_is_met_again(database: Database) -> None:
    graph = make_graph("chimera", 2, dead=2 / 32, seed=0)
    with database.transaction() as session:
        chip = add_chip(session)
    flip(database, Chip.graph, Chip.id == chip, 20)
    with database.reading() as session, pytest.raises(Corrupt, match=f"graph of chip {chip}.*{SAID}"):
        chips.read(session, chip)
    properties = {"topology": {"type": graph.topology, "shape": list(graph.shape)}}
    with database.reading() as session:
        name = session.execute(select(Chip.name)).scalar_one()
    met = replace(graph, name=name)
    assert records_embeddings.store_chip(database, "emulator", met, properties) == chip
    with database.reading() as session:
        assert len(chips.read(session, chip).qubits) == len(graph.qubits)


def test_a_damaged_tiling_is_named_and_never_used(database: Database) -> None:
    with database.transaction() as session:
        chip = add_chip(session)
        embedding = add_embedding(session, chip, graph_sha256=MODEL.digest)
    flip(database, Embedding.tiling, Embedding.id == embedding, 24)

    def search(_job: records_embeddings.SearchJob) -> FoundTiling:
        raise AssertionError("a stored embedding is not searched for")

    wanted = records_embeddings.EmbeddingRequest(chip, MODEL, 0, "x")
    with pytest.raises(Corrupt, match=f"tiling of embedding {embedding}.*prune"):
        records_embeddings.obtain(database, wanted, search, lease_s=60)
    with database.reading() as session, pytest.raises(Corrupt, match=f"embedding {embedding}.*{SAID}"):
        embeddings_queries.read_tiling(session, embedding)


def test_a_damaged_earlier_tiling_is_no_start_for_a_new_one(database: Database) -> None:
    with database.transaction() as session:
        earlier = add_embedding(session, add_chip(session), graph_sha256=MODEL.digest)
        chip = add_chip(session, seed=1)
    flip(database, Embedding.tiling, Embedding.id == earlier)
    starts: list[Any] = []

    def search(job: records_embeddings.SearchJob) -> FoundTiling:
        starts.append(job.start)
        return FoundTiling(TILES, "window", 0.1, 0)

    assert (
        records_embeddings.obtain(
            database, records_embeddings.EmbeddingRequest(chip, MODEL, 0, "x"), search, lease_s=60
        ).id
        != earlier
    )
    assert starts == [None]


@pytest.mark.parametrize("byte", [0, -1])
def test_damaged_digests_of_a_calibration_are_named(
    database: Database, network: ChosenNetwork, byte: int
) -> None:
    row = {
        "network_id": network.id,
        "solver": "local",
        "graph_id": "",
        "visible": "sampled",
        "name": "x",
        "images": 3,
        "image_digests": image_digests.seal(image_digests.digests(some_images(3).images)),
        "state": CalibrationState.READY,
        "parameters": {},
        "accuracy": 0.5,
        "created_at": START,
        "finished_at": START,
    }
    with database.transaction() as session:
        session.execute(insert(Calibration).values(row))
    with database.reading() as session:
        fitted = newest_calibration(session, network.id, Solver.LOCAL, None)
    assert fitted is not None
    assert image_digests.shared_images(
        image_digests.digests(some_images(3).images), fitted.image_digests
    ) == [0, 1, 2]
    flip(database, Calibration.image_digests, Calibration.id == 1, byte)
    with (
        database.reading() as session,
        pytest.raises(Corrupt, match=r"calibration 1.*--no-calibration"),
    ):
        newest_calibration(session, network.id, Solver.LOCAL, None)
