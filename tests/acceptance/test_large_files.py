"""A reader of a large file is killed at random again and again: each image is there once in the end."""

from __future__ import annotations

import io
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sqlalchemy import insert, select, update

from producer.images.origin import DataOrigin
from producer.intake.find import source_of
from producer.intake.open import open_intake
from producer.networks.choose import choose_network
from producer.runs import queries
from producer.runs.request import RunOptions
from schema.codecs import arrays
from schema.database import Database
from schema.parameters import Parameters, Solver
from schema.shapes import ImageShape
from schema.states import IntakeState
from schema.tables import Batch, BatchImages, Intake, Network
from tests.buckets import CREDENTIALS, bucket_server
from tests.conftest import ROOT
from tests.integration.conftest import network_row

KILLS = 30
DRAWN = 2_000  # different pictures in Parquet files


def npy(folder: Path, images: np.ndarray, labels: np.ndarray) -> DataOrigin:
    np.save(folder / "images.npy", images)
    np.save(folder / "labels.npy", labels)
    return DataOrigin(str(folder / "images.npy"), "images.npy", str(folder / "labels.npy"))


def parquet(folder: Path, images: np.ndarray, labels: np.ndarray) -> DataOrigin:
    pa = pytest.importorskip("pyarrow", reason="needs annealq[parquet]")
    pq = pytest.importorskip("pyarrow.parquet", reason="needs annealq[parquet]")
    (folder / "set").mkdir()
    pictures = []
    for image in images[:DRAWN]:
        file = io.BytesIO()
        Image.fromarray(image).save(file, "PNG")
        pictures.append(file.getvalue())
    chosen = np.random.default_rng(1).integers(0, DRAWN, len(images))
    images[...] = images[chosen]
    for shard, rows in enumerate(np.array_split(np.arange(len(images)), 4)):
        table = pa.table({"image": [pictures[k] for k in chosen[rows]], "label": labels[rows]})
        pq.write_table(table, folder / "set" / f"train-{shard:05}-of-00004.parquet", row_group_size=10_000)
    return DataOrigin(str(folder / "set"), "set")


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("write", "count", "batch_size", "road"),
    [
        (npy, 2_000_000, 100, "resume"),
        (parquet, 150_000, 10, "resume"),
        (npy, 1_000_000, 100, "read"),  # as for runs over HTTP and of schedules
        (npy, 1_000_000, 100, "store"),
    ],
)
def test_a_reader_is_killed_at_random_times_and_no_image_is_lost_or_repeated(
    database: Database,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    write: Callable[[Path, np.ndarray, np.ndarray], DataOrigin],
    count: int,
    batch_size: int,
    road: str,
) -> None:
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "bucket").mkdir()
    with bucket_server(tmp_path) as (query, _):
        address = f"s3://bucket/images.npy{query}" if road == "store" else None
        _read_and_kill(database, tmp_path / "bucket", write, count, batch_size, road, address)


def _read_and_kill(
    database: Database,
    folder: Path,
    write: Callable[[Path, np.ndarray, np.ndarray], DataOrigin],
    count: int,
    batch_size: int,
    road: str,
    address: str | None,
) -> None:
    """Enqueue images that ``write`` writes to ``folder``, kill their readers, and compare what was read.

    Args:
        count: images.
        road: ``read`` is the reader in the background, others are `runs resume`.
        address: of the file in a store; None: it is read as a file.
    """
    rng, times = np.random.default_rng(0), random.Random(1)
    images = rng.integers(0, 17, (count, 8, 8), dtype=np.uint8)
    labels = rng.integers(0, 10, count)
    origin = write(folder, images, labels)
    if address is not None:
        origin = replace(origin, data=address)
    with database.transaction() as session:
        session.execute(insert(Network).values(network_row()))
        network = choose_network(session, "digits", ImageShape((8, 8)))
    source = source_of(origin)
    what = (source, network, Solver.LOCAL, Parameters(reads=5), RunOptions(batch_size=batch_size))
    run = open_intake(database, *what, background=road == "read").id
    url = database.url.render_as_string(hide_password=False)
    verb = "read" if road == "read" else "resume"
    command = [sys.executable, "-m", "producer.cli", "runs", verb, str(run)]
    env = {**os.environ, "ANNEALQ_DATABASE_URL": url}
    positions = [_images(database, run)]
    for _ in range(KILLS):
        with subprocess.Popen(command, cwd=ROOT, env=env, stdout=subprocess.DEVNULL) as reader:
            while _images(database, run) == positions[-1] and reader.poll() is None:
                time.sleep(0.001)
            time.sleep(times.uniform(0, 0.1))
            reader.kill()
        positions.append(_images(database, run))
        _expire_lease(database)
        if positions[-1] == count:
            break
    subprocess.run(command, cwd=ROOT, env=env, check=False, capture_output=True)
    killed = sum(position < count for position in positions[1:])
    print(f"\n{len(positions) - 1} kills, {killed} of them before the last image")  # noqa: T201
    assert killed > 2
    with database.reading() as session:
        assert session.get_one(Intake, run).state is IntakeState.ENDED
    _compare(database, run, images, labels)


def _expire_lease(database: Database) -> None:
    """Let another reader begin at once, and not in a minute."""
    with database.transaction() as session:
        session.execute(update(Intake).values(leased_until=None))


def _images(database: Database, run: int) -> int:
    with database.reading() as session:
        return queries.run(session, run).images


def _compare(database: Database, run: int, images: np.ndarray, labels: np.ndarray) -> None:
    """Compare all batches of ``run`` with the images and labels of its source."""
    columns = (Batch.first_image, Batch.count.label("size"), BatchImages.images, BatchImages.labels)
    query = select(*columns).join(BatchImages, BatchImages.batch_id == Batch.id).where(Batch.run_id == run)
    expected = 0
    with database.reading() as session:
        ordered = query.order_by(Batch.ordinal).execution_options(yield_per=50)
        for first, size, pixels, encoded in session.execute(ordered):
            part = slice(first, first + size)
            assert first == expected
            assert pixels == images[part].tobytes()
            assert arrays.decode_labels(encoded or b"", size).tolist() == labels[part].tolist()
            expected += size
    assert expected == len(images)
