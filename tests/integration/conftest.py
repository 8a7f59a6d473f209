"""A ready network, images, runs: what the queue's tests start from."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import numpy as np
import pytest
from sqlalchemy import insert
from typer.testing import CliRunner

from producer.cli import app
from producer.enqueued import Enqueued
from producer.images.imageset import ImageSet
from producer.networks.choose import choose_network
from producer.networks.chosen import ChosenNetwork
from producer.runs.enqueue import RunOptions, enqueue_run
from schema.codecs import arrays
from schema.database import Database
from schema.errors import AnnealqError
from schema.messages import Message, Queue, Task
from schema.network import weights
from schema.network.architecture import preset
from schema.parameters import Parameters, Solver
from schema.settings.worker import WorkerSettings
from schema.shapes import ImageShape
from schema.states import NetworkState
from schema.tables import Network
from worker.context import Context
from worker.pipeline.calibrate import calibrate_network
from worker.pipeline.energy_histograms import compute_histograms
from worker.pipeline.features.compute_features import compute_features
from worker.pipeline.find_duplicates import find_duplicates
from worker.pipeline.finish_run import finish_run
from worker.pipeline.plan_calibration import plan_calibration
from worker.pipeline.sample_batch import sample_batch
from worker.pipeline.sample_sets.compute import compute_sample_sets
from worker.pipeline.score_batch import score_batch
from worker.pipeline.train import train_network
from worker.scheduling.dispatch import dispatch
from worker.tasks import sample_and_score

Cli = Callable[..., str]

START = datetime(2026, 1, 1, tzinfo=UTC)


class Clock:
    """Time that moves only when a test says so."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now

    def forward(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


class Outbox:
    """Hints that were sent, instead of a broker; ``waits`` is what the broker would say still waits."""

    def __init__(self) -> None:
        self.sent: list[Message] = []
        self.waits: int | None = None

    def send(self, messages: Iterable[Message]) -> None:
        self.sent += messages

    def waiting(self, _queue: Queue) -> int | None:
        return self.waits

    def take(self) -> list[Message]:
        taken, self.sent = self.sent, []
        return taken


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def outbox() -> Outbox:
    return Outbox()


@pytest.fixture
def timed(database_url: str, clock: Clock) -> Iterator[Database]:
    """The same database, with a clock that stands still."""
    opened = Database(database_url, clock)
    yield opened
    opened.dispose()


@pytest.fixture
def cli(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Cli:
    """The command line in this process, on the test's database: returns what it prints.

    Raises the error that a user would read, and AssertionError with the usage when arguments are wrong.
    """
    monkeypatch.setenv("ANNEALQ_DATABASE_URL", database_url)

    def cli(*arguments: object) -> str:
        done = CliRunner().invoke(app, [str(argument) for argument in arguments])
        if isinstance(done.exception, AnnealqError):
            raise done.exception
        assert done.exit_code == 0, done.output
        return done.stdout

    return cli


def network_row() -> dict[str, Any]:
    """A ready `digits` network, with weights drawn at random."""
    return working_network()


def working_network(seed: int = 1) -> dict[str, Any]:
    """The same with the weights of another ``seed``."""
    architecture = preset("digits")
    data = _drawn_weights(seed)
    return {
        "name": "digits",
        "version": 1,
        "state": NetworkState.READY,
        "content_sha256": "0" * 64,
        "architecture": architecture.to_dict(),
        "shape": "8x8",
        "dtype": "uint8",
        "classes": [str(k) for k in range(10)],
        "training": {"transfer": "energy", "seed": 0, "epochs": None},
        "weights": data,
        "weights_sha256": arrays.checksum(data),
        "created_at": START,
        "finished_at": START,
    }


@cache
def _drawn_weights(seed: int) -> bytes:
    architecture = preset("digits")
    rng = np.random.default_rng(seed)
    drawn = {name: rng.normal(0, 0.4, shape) for name, shape in architecture.shapes.items()}
    return weights.encode({name: array.astype(np.float32) for name, array in drawn.items()}, architecture)


@pytest.fixture
def network(database: Database) -> ChosenNetwork:
    with database.transaction() as session:
        session.execute(insert(Network).values(network_row()))
        return choose_network(session, "digits", ImageShape.image(8, 8))


@pytest.fixture
def working(database: Database) -> ChosenNetwork:
    with database.transaction() as session:
        session.execute(insert(Network).values(working_network()))
        return choose_network(session, "digits", ImageShape.image(8, 8))


@pytest.fixture
def context(database: Database, outbox: Outbox) -> Context:
    return Context(database, WorkerSettings(max_attempts=1), outbox)


def work_off(context: Context, *messages: Message) -> None:
    """Do what these messages and those that follow from them ask for, as a worker would."""
    outbox = context.hints
    assert isinstance(outbox, Outbox)
    waiting = deque(messages)
    while waiting:
        message = waiting.popleft()
        if message.task is Task.DISPATCH:
            dispatch(context.database, context.settings, outbox)
        else:
            USE_CASES[message.task](context, message.row)
        waiting += outbox.take()


def work_off_but(context: Context, left: Task, *messages: Message) -> list[Message]:
    """Do the same but for the task ``left``; return the messages that ask for it."""
    outbox = context.hints
    assert isinstance(outbox, Outbox)
    waiting, kept = deque(messages), list[Message]()
    while waiting:
        message = waiting.popleft()
        if message.task is left:
            kept.append(message)
        elif message.task is Task.SAMPLE_BATCH and left is Task.AGGREGATE_BATCH:
            if (sampled := sample_batch(context, message.row)) is not None:
                kept.append(Message(left, sampled))
        elif message.task is Task.DISPATCH:
            dispatch(context.database, context.settings, outbox)
        else:
            USE_CASES[message.task](context, message.row)
        waiting += outbox.take()
    return kept


USE_CASES: dict[Task, Callable[[Context, int], None]] = {
    Task.COMPUTE_FEATURES: compute_features,
    Task.SAMPLE_BATCH: sample_and_score,
    Task.AGGREGATE_BATCH: score_batch,
    Task.AGGREGATE_RUN: finish_run,
    Task.PLAN_CALIBRATION: plan_calibration,
    Task.CALIBRATE_NETWORK: calibrate_network,
    Task.FIND_DUPLICATES: find_duplicates,
    Task.COMPUTE_HISTOGRAMS: compute_histograms,
    Task.COMPUTE_SAMPLE_SETS: compute_sample_sets,
    Task.TRAIN_NETWORK: train_network,
}


def some_images(count: int = 30, *, seed: int = 0, labelled: bool = True) -> ImageSet:
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 17, (count, 8, 8), dtype=np.uint8)
    labels = rng.integers(0, 10, count) if labelled else None
    return ImageSet("random", images, labels, None, None)


@pytest.fixture
def enqueue(timed: Database, network: ChosenNetwork) -> Callable[..., Enqueued]:
    """Enqueue random images: `enqueue(count, seed=, solver=, key=, priority=, batch_size=)`."""

    def enqueue(
        count: int = 30, *, seed: int = 0, reads: int = 10, solver: Solver = Solver.LOCAL, **options: object
    ) -> Enqueued:
        images = some_images(count, seed=seed)
        chosen = RunOptions(**{"batch_size": 10, **options})
        return enqueue_run(timed, images, network, solver, Parameters(reads=reads), chosen)

    return enqueue
