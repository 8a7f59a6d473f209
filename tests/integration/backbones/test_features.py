"""Feature vectors: asked for with a run or a training, computed once, shared, resumed; failing in words."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.orm import Session

from producer.images.imageset import ImageSet
from producer.networks.choose import choose_network
from producer.networks.training import enqueue_training
from producer.runs import control
from producer.runs.enqueue import RunOptions, enqueue_run
from producer.runs.queries import classified
from producer.runs.rescore import enqueue_rescored
from schema.database import Database
from schema.database.crash_points import CrashPoint
from schema.errors import BackboneError
from schema.messages import Message, Task
from schema.network import weights
from schema.network.architecture import Architecture
from schema.network.recipes import Recipe
from schema.parameters import Parameters, Solver
from schema.settings.worker import WorkerSettings
from schema.shapes import ImageShape
from schema.states import BatchState, FeatureSetState, NetworkState, PausedBy, RunState
from schema.tables import Backbone, BackboneFile, Batch, Event, FeaturePart, FeatureSet, Network, Run
from tests.integration.conftest import network_row, work_off, work_off_but
from tests.onnx_models import FEATURES, SIDE, architecture, imported, pictures
from worker.backbones.pixels import to_values
from worker.backbones.session import BackboneSession
from worker.context import Context
from worker.network import training
from worker.pipeline.features import compute_features as use_case
from worker.pipeline.features.compute_features import compute_features
from worker.pipeline.sample_batch import sample_batch
from worker.pipeline.train import train_network
from worker.records.attempts import release_expired

Enqueue = Callable[..., int]


@pytest.fixture
def network(database: Database) -> int:
    """A network with a backbone, trained on a few pictures."""
    with database.transaction() as session:
        layers = architecture(imported(session))
        data = session.execute(select(BackboneFile.data)).scalar_one()
        images = pictures(60, seed=5)
        scaled = to_values(images.images, SIDE, Recipe.of(layers.backbones[0]).scale)
        assert images.labels is not None
        vectors = BackboneSession(data).run(scaled).astype(np.float16)
        trained = training.train(layers, vectors, images.labels)
        encoded = weights.encode(trained.weights, layers)
        row = {
            **network_row(),
            "name": layers.name,
            "architecture": layers.to_dict(),
            **ImageShape.image(SIDE, SIDE, 3).row(),
            "classes": ["red", "green", "blue"],
            "weights": encoded,
            "weights_sha256": weights.digest(encoded),
        }
        return session.execute(insert(Network).values(row).returning(Network.id)).scalar_one()


@pytest.fixture
def enqueue(database: Database, network: int) -> Enqueue:
    def enqueue(images: ImageSet | None = None, reads: int = 10, **options: Any) -> int:
        with database.reading() as session:
            chosen = choose_network(session, "onfeatures", ImageShape.image(SIDE, SIDE, 3))
        asked = RunOptions(**{"batch_size": 10, **options})
        given = pictures() if images is None else images
        return enqueue_run(database, given, chosen, Solver.LOCAL, Parameters(reads=reads), asked).id

    return enqueue


def states(database: Database) -> list[FeatureSetState]:
    with database.reading() as session:
        return list(session.execute(select(FeatureSet.state).order_by(FeatureSet.id)).scalars())


def due(database: Database) -> list[bool]:
    """Return for each batch whether a worker may take it."""
    with database.reading() as session:
        now = database.now(session)
        return [at <= now for at in session.execute(select(Batch.due_at).order_by(Batch.id)).scalars()]


def moves(database: Database, subject: str) -> list[str]:
    with database.reading() as session:
        rows = session.execute(select(Event.target).where(Event.subject == subject).order_by(Event.id))
        return list(rows.scalars())


def test_a_run_waits_for_its_features_and_is_classified_by_them(
    database: Database, context: Context, enqueue: Enqueue
) -> None:
    run = enqueue()
    assert states(database) == [FeatureSetState.QUEUED] * 3
    assert due(database) == [False] * 3
    work_off(context, Message(Task.DISPATCH))
    assert states(database) == [FeatureSetState.READY] * 3
    assert moves(database, "feature_sets").count("computing") == 3
    with database.reading() as session:
        assert session.get_one(Run, run).state is RunState.DONE
        rows = list(classified(session, run))
        parts = session.execute(select(func.sum(FeaturePart.count))).scalar_one()
        fences = session.execute(select(Batch.fence)).scalars().all()
    assert parts == 30
    assert set(fences) == {1}  # no batch was taken before its features were there
    assert sum(row.predicted == row.label for row in rows) >= 28


def test_the_same_images_are_computed_once(database: Database, context: Context, enqueue: Enqueue) -> None:
    first = enqueue()
    work_off(context, Message(Task.DISPATCH))
    second = enqueue(reads=12)
    assert states(database) == [FeatureSetState.READY] * 3
    assert due(database) == [True] * 6
    computed = moves(database, "feature_sets").count("computing")
    work_off(context, Message(Task.DISPATCH))
    assert moves(database, "feature_sets").count("computing") == computed == 3
    with database.reading() as session:
        for run in (first, second):
            assert session.get_one(Run, run).state is RunState.DONE


def test_a_network_is_trained_on_features(database: Database, context: Context) -> None:
    with database.transaction() as session:
        layers = architecture(imported(session))
    trained = enqueue_training(database, layers, pictures(60), transfer="energy", seed=0).id
    work_off_training(context, Message(Task.TRAIN_NETWORK, trained), Message(Task.DISPATCH))
    with database.reading() as session:
        row = session.get_one(Network, trained)
        assert row.state is NetworkState.READY, row.error
        assert row.fence == 1  # it was not claimed before its features were there
        assert row.weights is not None
        weights.decode(row.weights, layers)
    assert states(database) == [FeatureSetState.READY]
    again = enqueue_training(database, layers, pictures(60), transfer="energy", seed=1).id
    work_off_training(context, Message(Task.TRAIN_NETWORK, again))
    assert moves(database, "feature_sets").count("computing") == 1


def work_off_training(context: Context, *messages: Message) -> None:
    waiting = work_off_but(context, Task.TRAIN_NETWORK, *messages)
    for message in waiting:
        train_network(context, message.row)


class Killed(BaseException):
    """What a kill does to a process: nothing of it runs any more."""


@pytest.fixture
def kill(monkeypatch: pytest.MonkeyPatch) -> Callable[[CrashPoint], None]:
    def kill(at: CrashPoint) -> None:
        def reach(point: CrashPoint) -> None:
            if point is at:
                raise Killed

        monkeypatch.setattr(use_case, "reach", reach)

    return kill


@pytest.mark.parametrize(
    ("point", "stored"),
    [(CrashPoint.FEATURES_CLAIMED, 0), (CrashPoint.FEATURES_PART, 4), (CrashPoint.FEATURES_STORED, 10)],
)
def test_a_kill_loses_at_most_one_part(
    database: Database,
    context: Context,
    enqueue: Enqueue,
    kill: Callable[[CrashPoint], None],
    monkeypatch: pytest.MonkeyPatch,
    point: CrashPoint,
    stored: int,
) -> None:
    monkeypatch.setattr(use_case, "_PART", 4)
    run = enqueue(pictures(10))
    kill(point)
    with pytest.raises(Killed):
        compute_features(context, 1)
    with database.transaction() as session:
        assert (session.execute(select(func.sum(FeaturePart.count))).scalar_one() or 0) == stored
        later = database.now(session) + timedelta(hours=2)
        release_expired(session, now=later, settings=WorkerSettings(max_attempts=3))
    monkeypatch.undo()
    work_off(context, Message(Task.DISPATCH))
    with database.reading() as session:
        assert session.get_one(Run, run).state is RunState.DONE
        row = session.get_one(FeatureSet, 1)
        assert row.computed == (10 if point is CrashPoint.FEATURES_STORED else 10 - stored)
        assert session.execute(select(func.sum(FeaturePart.count))).scalar_one() == 10


def test_a_backbone_that_fails_fails_its_batches_and_networks(
    database: Database, context: Context, enqueue: Enqueue
) -> None:
    run = enqueue(pictures(10))
    with database.transaction() as session:
        session.execute(update(BackboneFile).values(data=b"damaged"))
        layers = architecture_of(session)
    network = enqueue_training(database, layers, pictures(20), transfer="energy", seed=0).id
    work_off_training(context, Message(Task.DISPATCH), Message(Task.TRAIN_NETWORK, network))
    work_off(context, Message(Task.DISPATCH))
    assert states(database) == [FeatureSetState.FAILED] * 2
    with database.reading() as session:
        row = session.get_one(Run, run)
        assert row.state is RunState.FAILED
        error = session.execute(select(Batch.error).where(Batch.run_id == run)).scalar_one()
        assert "file of backbone 'tiny0'" in str(error)
        assert "checksum does not agree" in str(error)
    train_network(context, network)
    with database.reading() as session:
        assert session.get_one(Network, network).state is NetworkState.FAILED
        assert "checksum does not agree" in str(session.get_one(Network, network).error)


def architecture_of(session: Session) -> Architecture:
    return Architecture.from_dict(session.execute(select(Network.architecture)).scalars().first())


@pytest.fixture
def failed(database: Database, context: Context, enqueue: Enqueue) -> int:
    """A run that failed, as its backbone was damaged, which it is not any more."""
    run = enqueue(pictures(10))
    with database.transaction() as session:
        good = session.execute(select(BackboneFile.data)).scalar_one()
        session.execute(update(BackboneFile).values(data=b"damaged"))
    work_off(context, Message(Task.DISPATCH))
    assert states(database) == [FeatureSetState.FAILED]
    with database.transaction() as session:
        session.execute(update(BackboneFile).values(data=good))
    return run


@pytest.mark.usefixtures("failed")
def test_failed_features_are_computed_when_they_are_asked_for_again(
    database: Database, context: Context, enqueue: Enqueue
) -> None:
    run = enqueue(pictures(10), reads=11)
    assert states(database) == [FeatureSetState.QUEUED]
    work_off(context, Message(Task.DISPATCH))
    with database.reading() as session:
        assert session.get_one(Run, run).state is RunState.DONE


def test_features_are_computed_before_a_window_opens_but_not_for_a_run_paused_by_hand(
    database: Database, context: Context, enqueue: Enqueue
) -> None:
    run = enqueue(pictures(10))
    control.pause(database, run)
    work_off(context, Message(Task.DISPATCH), Message(Task.COMPUTE_FEATURES, 1))
    assert states(database) == [FeatureSetState.QUEUED]
    with database.transaction() as session:
        session.execute(update(Run).values(paused_by=PausedBy.WINDOW))
    work_off(context, Message(Task.COMPUTE_FEATURES, 1))
    assert states(database) == [FeatureSetState.READY]
    with database.reading() as session:
        assert session.get_one(Run, run).state is RunState.PAUSED


def test_resuming_a_run_computes_features_that_failed(
    database: Database, context: Context, failed: int
) -> None:
    control.resume(database, failed)
    work_off(context, Message(Task.DISPATCH))
    with database.reading() as session:
        assert session.get_one(Run, failed).state is RunState.DONE


def test_features_of_a_cancelled_run_are_not_computed(
    database: Database, context: Context, enqueue: Enqueue
) -> None:
    run = enqueue(pictures(10))
    control.cancel(database, run)
    work_off(context, Message(Task.DISPATCH), Message(Task.COMPUTE_FEATURES, 1))
    assert states(database) == [FeatureSetState.QUEUED]


def test_a_batch_that_is_taken_too_early_waits_on(
    database: Database, context: Context, enqueue: Enqueue
) -> None:
    enqueue(pictures(10))
    with database.transaction() as session:
        session.execute(update(Batch).values(due_at=database.now(session)))
    sample_batch(context, 1)
    with database.reading() as session:
        row = session.get_one(Batch, 1)
        assert (row.state, row.attempts) == (BatchState.PENDING, 0)
        assert row.error == "its feature vectors are being computed"
    assert due(database) == [False]
    compute_features(context, 1)
    assert due(database) == [True]


def test_features_that_were_removed_are_computed_again_for_rescoring(
    database: Database, context: Context, enqueue: Enqueue
) -> None:
    run = enqueue()
    work_off(context, Message(Task.DISPATCH))
    with database.transaction() as session:
        session.execute(delete(FeatureSet))
    context.linear_terms.clear()
    again = enqueue_rescored(database, run, {"fraction": 0.2}).id
    with database.reading() as session:
        hinted = session.execute(select(Batch.id).where(Batch.run_id == again)).scalars().all()
    work_off(context, *(Message(Task.AGGREGATE_BATCH, batch) for batch in hinted))
    with database.reading() as session:
        assert session.get_one(Run, again).state is RunState.DONE
        before = [(row.probability, row.label) for row in classified(session, run)]
        assert [(row.probability, row.label) for row in classified(session, again)] == before


def test_urgent_features_come_first(database: Database, context: Context, enqueue: Enqueue) -> None:
    enqueue(pictures(10, seed=1))
    enqueue(pictures(10, seed=2), priority=5)
    compute_features(context, 1)
    assert states(database) == [FeatureSetState.QUEUED, FeatureSetState.READY]


def test_a_network_whose_backbone_is_not_here_is_refused(database: Database, enqueue: Enqueue) -> None:
    with database.transaction() as session:
        layers = architecture_of(session)
        session.execute(delete(Backbone))
    with pytest.raises(BackboneError, match=r"annealq backbones import FILE\.onnx"):
        enqueue()
    with pytest.raises(BackboneError, match="is not here"):
        enqueue_training(database, layers, pictures(20), transfer="energy", seed=0)


def test_a_network_that_expects_other_vectors_is_refused(database: Database) -> None:
    with database.transaction() as session:
        layer = imported(session)
    wrong = architecture(layer.replace(values=FEATURES + 1))
    with pytest.raises(BackboneError, match=f"write values = {FEATURES}"):
        enqueue_training(database, wrong, pictures(20), transfer="energy", seed=0)
