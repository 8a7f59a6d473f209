"""A run with all of its batches, once, or nothing."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from producer import jobs
from producer.context import AppContext
from producer.enqueued import Enqueued
from producer.images.pieces import collector, stored
from producer.images.source import read_images
from producer.networks.choose import choose_network
from producer.networks.chosen import ChosenNetwork
from producer.networks.naming import set_default
from producer.networks.training import enqueue_training
from producer.runs.enqueue import RunOptions, enqueue_run
from producer.runs.request import ClassificationRequest
from schema.codecs import arrays, pieces
from schema.database import Database, new_runs
from schema.errors import IdempotencyConflict, ImageError, NetworkError, ParameterError
from schema.network.architecture import preset
from schema.parameters import Parameters, Solver
from schema.settings import load
from schema.shapes import ImageShape
from schema.tables import Batch, BatchImages, Network, Run, TrainingSet
from tests.integration.conftest import some_images

Enqueue = Callable[..., Enqueued]


def rows(database: Database, table: type) -> int:
    with database.reading() as session:
        return session.execute(select(func.count()).select_from(table)).scalar_one()


def test_batches_hold_every_image_once_and_in_order(database: Database, network: ChosenNetwork) -> None:
    images = some_images(33)
    run = enqueue_run(database, images, network, Solver.LOCAL, Parameters(), RunOptions(batch_size=10))
    with database.reading() as session:
        kept = (BatchImages.images, BatchImages.images_sha256, BatchImages.labels)
        parts = session.execute(
            select(Batch.first_image, Batch.count, *kept)
            .join(BatchImages, BatchImages.batch_id == Batch.id)
            .where(Batch.run_id == run.id)
            .order_by(Batch.ordinal)
        ).all()
    assert [(first, count) for first, count, *_ in parts] == [(0, 10), (10, 10), (20, 10), (30, 3)]
    stored = [
        arrays.decode_images(data, n, ImageShape.image(8, 8), sha, labels)
        for _, n, data, sha, labels in parts
    ]
    np.testing.assert_array_equal(np.concatenate(stored), images.images)
    labels = [arrays.decode_labels(data or b"", n) for _, n, _, _, data in parts]
    np.testing.assert_array_equal(np.concatenate(labels), images.labels)


def stored_rows(database: Database, run: int) -> list[tuple[Any, ...]]:
    columns = (Batch.ordinal, Batch.first_image, Batch.count, Batch.shape)
    parts = (BatchImages.images, BatchImages.images_sha256, BatchImages.labels, BatchImages.sources)
    query = select(*columns, *parts).join(BatchImages, BatchImages.batch_id == Batch.id)
    with database.reading() as session:
        found = session.execute(query.where(Batch.run_id == run).order_by(Batch.ordinal)).all()
        digest = session.execute(select(Run.content_sha256).where(Run.id == run)).scalar_one()
    return [(digest,), *(tuple(row) for row in found)]


def test_images_of_a_file_make_the_same_rows_a_few_at_a_time(
    database: Database, network: ChosenNetwork, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = some_images(33)
    np.savez_compressed(tmp_path / "a.npz", images=images.images, labels=images.labels)
    options = RunOptions(batch_size=5, key="once")
    whole = read_images(tmp_path / "a.npz")
    expected = enqueue_run(database, whole, network, Solver.LOCAL, Parameters(), RunOptions(batch_size=5))
    monkeypatch.setattr(stored, "CHUNK_BYTES", 100)
    monkeypatch.setattr(pieces, "PIECE_BYTES", 100)
    monkeypatch.setattr(collector, "IN_MEMORY_BYTES", 0)
    monkeypatch.setattr(new_runs, "_INSERTED_ROWS", 2)
    in_pieces = read_images(tmp_path / "a.npz")

    def fail(_session: Session, _run: int) -> None:
        raise ParameterError("after the last batch")

    with pytest.raises(ParameterError, match="after the last"):
        enqueue_run(database, in_pieces, network, Solver.LOCAL, Parameters(), options, fail)
    assert (rows(database, Run), rows(database, Batch), rows(database, BatchImages)) == (1, 7, 7)
    run = enqueue_run(database, in_pieces, network, Solver.LOCAL, Parameters(), options)
    assert stored_rows(database, run.id) == stored_rows(database, expected.id)
    # Read at once, they are the same request.
    again = enqueue_run(database, whole, network, Solver.LOCAL, Parameters(), options)
    assert (again.id, again.created) == (run.id, False)


CHILD = """
import re, sys
from pathlib import Path
from producer.images.source import read_images
from producer.networks.choose import choose_network
from schema.shapes import ImageShape
from producer.runs.enqueue import enqueue_run
from schema.database import Database, new_runs
from schema.parameters import Parameters, Solver

database = Database(sys.argv[1])
for path in sys.argv[2:]:
    images = read_images(path)
    with database.reading() as session:
        network = choose_network(session, "digits", ImageShape.image(8, 8))
    enqueue_run(database, images, network, Solver.LOCAL, Parameters())
    print(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])
"""


def test_memory_does_not_grow_with_the_images_of_a_run(
    database: Database, network: ChosenNetwork, tmp_path: Path
) -> None:
    for name, count in (("small", 1_000), ("large", 500_000)):
        np.savez_compressed(tmp_path / f"{name}.npz", images=np.zeros((count, 8, 8), np.uint8))
    arguments = [str(database.url), str(tmp_path / "small.npz"), str(tmp_path / "large.npz")]
    done = subprocess.run(
        [sys.executable, "-c", CHILD, *arguments], capture_output=True, text=True, check=True
    )
    small, large = map(int, done.stdout.split())
    assert rows(database, Batch) == 10 + 5_000
    assert (large - small) * 1024 < 24 * 2**20  # of 32 MB of pixels, and as much again of rows


def test_the_same_key_is_the_same_run(enqueue: Enqueue, database: Database) -> None:
    first, again = enqueue(key="night-1"), enqueue(key="night-1")
    assert (first.created, again.created) == (True, False)
    assert first.id == again.id
    assert (rows(database, Run), rows(database, Batch)) == (1, 3)


@pytest.mark.parametrize("other", [{"seed": 1}, {"reads": 11}, {"count": 29}])
def test_the_same_key_with_other_content_is_refused(
    enqueue: Enqueue, database: Database, other: dict[str, int]
) -> None:
    enqueue(key="night-1")
    with pytest.raises(IdempotencyConflict, match=r"night-1.*another key"):
        enqueue(key="night-1", **other)
    assert rows(database, Run) == 1


@pytest.mark.parametrize(
    ("other", "fields"),
    [
        ({"priority": 2}, ("priority",)),
        ({"budget_us": 9, "solver": Solver.EMULATOR}, ("solver", "budget_s")),
        ({"windows": ("22:00-06:00",), "zone": "UTC"}, ("tz", "window")),
        ({"deadline": "2099-01-01T06:00"}, ("deadline",)),
        ({"batch_size": 7, "name": "x"}, ("batch_size", "name")),
        ({"asked": {"reads": 6}}, ("reads",)),
    ],
)
def test_a_command_with_the_same_key_is_the_same_request(
    database: Database, network: ChosenNetwork, other: dict[str, Any], fields: tuple[str, ...]
) -> None:
    request = ClassificationRequest(data="digits", asked={"reads": 5})
    app = AppContext(load(), database)

    def submit(asked: ClassificationRequest) -> Enqueued:
        return jobs.submit(app, asked, some_images(3), "nightly", notify=lambda: None)[0]

    run = submit(request).id
    assert submit(request) == Enqueued(run, created=False)
    with pytest.raises(IdempotencyConflict, match=", ".join(fields)) as raised:
        submit(replace(request, **other))
    assert raised.value.fields == fields
    assert submit(request).id == run


def test_without_a_key_every_call_is_a_run(enqueue: Enqueue) -> None:
    assert enqueue().id != enqueue().id


def test_a_key_that_many_producers_send_at_once_makes_one_run(
    database: Database, network: ChosenNetwork
) -> None:
    images, options = some_images(50), RunOptions(batch_size=5, key="race")

    def send(_: int) -> Enqueued:
        return enqueue_run(database, images, network, Solver.LOCAL, Parameters(), options)

    with ThreadPoolExecutor(8) as pool:
        sent = list(pool.map(send, range(16)))
    assert len({run.id for run in sent}) == 1
    assert sum(run.created for run in sent) == 1
    assert (rows(database, Run), rows(database, Batch)) == (1, 10)


def test_images_that_do_not_suit_leave_nothing(database: Database, network: ChosenNetwork) -> None:
    good = some_images(5)
    bad = {
        "8 x 8": replace(good, images=np.zeros((5, 9, 9), np.uint8)),
        "0 to 16": replace(good, images=good.images + np.uint8(17)),
        "10 classes": replace(good, labels=np.array([0, 1, 2, 3, 10])),
        "'cat' is not known": replace(good, labels=np.zeros(5, np.int64), classes=("cat",)),
    }
    for message, images in bad.items():
        with pytest.raises(ImageError, match=message):
            enqueue_run(database, images, network, Solver.LOCAL, Parameters())
    assert (rows(database, Run), rows(database, Batch)) == (0, 0)


def test_labels_are_numbered_as_the_network_does(database: Database, network: ChosenNetwork) -> None:
    folders = replace(some_images(4), labels=np.array([0, 1, 1, 0]), classes=("3", "7"))
    run = enqueue_run(database, folders, network, Solver.LOCAL, Parameters())
    with database.reading() as session:
        of_run = select(BatchImages.labels).join(Batch).where(Batch.run_id == run.id)
        data = session.execute(of_run).scalar_one()
    assert arrays.decode_labels(data or b"", 4).tolist() == [3, 7, 7, 3]


def test_a_network_is_found_by_size_name_and_version(database: Database, network: ChosenNetwork) -> None:
    set_default(database, "digits@1")
    with database.reading() as session:
        for wanted in (None, "digits", "digits@1"):
            assert choose_network(session, wanted, ImageShape.image(8, 8)) == network
        for wanted, height in (("digits@2", 8), ("nosuch", 8), (None, 28), ("digits@x", 8)):
            with pytest.raises(NetworkError):
                choose_network(session, wanted, ImageShape.image(height, height))
        with pytest.raises(NetworkError, match=r"digits@1 \(ready, 8 x 8\).*networks train"):
            choose_network(session, "nosuch", ImageShape.image(8, 8))


def test_training_on_the_same_again_is_the_same_network(database: Database) -> None:
    def train(seed: int = 0, data: int = 0) -> Enqueued:
        images = some_images(20, seed=data)
        return enqueue_training(database, preset("digits"), images, transfer="energy", seed=seed)

    first, again, reseeded, other = train(), train(), train(seed=1), train(data=1)
    assert (again.id, again.created) == (first.id, False)
    assert len({first.id, reseeded.id, other.id}) == 3
    assert (rows(database, Network), rows(database, TrainingSet)) == (3, 2)
    with database.reading() as session:
        versions = session.execute(select(Network.version).order_by(Network.id)).scalars().all()
    assert versions == [1, 2, 3]


def test_many_producers_that_train_one_name_at_once_get_a_version_each(database: Database) -> None:
    images = some_images(20)

    def train(number: int) -> Enqueued:
        seed = number // 2  # every training is asked for twice
        return enqueue_training(database, preset("digits"), images, transfer="energy", seed=seed)

    with ThreadPoolExecutor(8) as pool:
        sent = list(pool.map(train, range(16)))
    assert len({network.id for network in sent}) == sum(network.created for network in sent) == 8
    with database.reading() as session:
        versions = session.execute(select(Network.version).order_by(Network.version)).scalars().all()
    assert versions == [1, 2, 3, 4, 5, 6, 7, 8]


def test_training_needs_labels(database: Database) -> None:
    with pytest.raises(ImageError, match="labels"):
        enqueue_training(
            database, preset("digits"), some_images(5, labelled=False), transfer="energy", seed=0
        )
    assert rows(database, TrainingSet) == 0


@pytest.mark.parametrize(
    "wrong", [{"batch_size": 0}, {"batch_size": 10_001}, {"priority": 1001}, {"key": ""}, {"key": "x" * 256}]
)
def test_options_out_of_range_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ParameterError, match=r"1 to|-1000"):
        RunOptions(**wrong)
