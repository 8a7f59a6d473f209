"""Parquet files of pictures are read in pieces: batches end with their file; unreadable rows are left out."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from sqlalchemy import select

from producer.images.origin import DataOrigin
from producer.intake import groups
from producer.intake.find import source_for, source_of
from producer.intake.open import open_intake
from producer.intake.read_on import read_on
from producer.networks.chosen import ChosenNetwork
from producer.runs.queries import sources
from producer.runs.request import ClassificationRequest, RunOptions
from producer.runs.results import images as images_of
from schema.database import Database
from schema.errors import ImageError
from schema.parameters import Parameters, Solver
from schema.states import IntakeState
from schema.tables import Batch, Intake
from tests.integration.conftest import some_images

ROWS, SIZE = (25, 13), 10


@pytest.fixture(autouse=True)
def _small_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch of 10 images of 8 x 8 pixels in a transaction."""
    monkeypatch.setattr(groups, "_GROUP_BYTES", SIZE * 64)


def png(pixels: np.ndarray[Any, Any]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def write(folder: Path, pictures: list[bytes], labels: np.ndarray[Any, Any]) -> None:
    """Write two files, with the file names and class names of `datasets`."""
    first = 0
    folder.mkdir(exist_ok=True)
    for number, rows in enumerate(ROWS):
        part = slice(first, first + rows)
        images = [{"bytes": data, "path": f"{first + k}.png"} for k, data in enumerate(pictures[part])]
        table = pa.table({"image": images, "label": pa.array(labels[part])})
        pq.write_table(table, folder / f"train-{number:05}-of-{len(ROWS):05}.parquet")
        first += rows


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    images = some_images(sum(ROWS))
    assert images.labels is not None
    write(tmp_path / "set", [png(each) for each in images.images], images.labels)
    return tmp_path / "set"


def opened(database: Database, network: ChosenNetwork, origin: DataOrigin) -> int:
    options = RunOptions(batch_size=SIZE)
    return open_intake(database, source_of(origin), network, Solver.LOCAL, Parameters(reads=5), options).id


def batches(database: Database, run: int) -> list[tuple[int, int, int]]:
    query = select(Batch.ordinal, Batch.first_image, Batch.count.label("size")).where(Batch.run_id == run)
    with database.reading() as session:
        return [(row[0], row[1], row[2]) for row in session.execute(query.order_by(Batch.ordinal))]


def test_batches_end_with_their_file(database: Database, network: ChosenNetwork, shards: Path) -> None:
    origin = DataOrigin(str(shards), "set")
    run = opened(database, network, origin)
    read_on(database, run, source_of(origin))
    assert batches(database, run) == [(0, 0, 10), (1, 10, 10), (2, 20, 5), (3, 25, 10), (4, 35, 3)]
    expected = some_images(sum(ROWS))
    with database.reading() as session:
        pixels, labels = images_of(session, run)
        names = sources(session, run)
    np.testing.assert_array_equal(pixels, expected.images)
    np.testing.assert_array_equal(labels, expected.labels)
    assert names == {k: f"{k}.png" for k in range(sum(ROWS))}


def test_rows_that_are_left_out_are_no_images(
    database: Database, network: ChosenNetwork, tmp_path: Path
) -> None:
    images = some_images(sum(ROWS))
    pictures = [png(each) for each in images.images]
    bad = [3, 24, 37]
    for row in bad:
        pictures[row] = b"damaged"
    assert images.labels is not None
    write(tmp_path / "set", pictures, images.labels)
    origin = DataOrigin(str(tmp_path / "set"), "set", skip_unreadable=True)
    run = opened(database, network, origin)
    read_on(database, run, source_of(origin))
    assert batches(database, run) == [(0, 0, 10), (1, 10, 10), (2, 20, 3), (3, 23, 10), (4, 33, 2)]
    with database.reading() as session:
        pixels, _ = images_of(session, run)
        intake = session.get_one(Intake, run)
        assert (intake.state, intake.rows, intake.total) == (IntakeState.ENDED, sum(ROWS), sum(ROWS))
    np.testing.assert_array_equal(pixels, np.delete(images.images, bad, axis=0))


def test_a_damaged_row_stops_the_reading_and_is_read_when_it_is_repaired(
    database: Database, network: ChosenNetwork, tmp_path: Path
) -> None:
    images = some_images(sum(ROWS))
    pictures = [png(each) for each in images.images]
    assert images.labels is not None
    write(tmp_path / "set", [*pictures[:30], b"damaged", *pictures[31:]], images.labels)
    origin = DataOrigin(str(tmp_path / "set"), "set")
    run = opened(database, network, origin)
    with pytest.raises(ImageError, match=r"after 20 images: .*row 30 is damaged"):
        read_on(database, run, source_of(origin))
    write(tmp_path / "set", pictures, images.labels)
    os.utime(tmp_path / "set" / "train-00001-of-00002.parquet", ns=(1, 1))
    read_on(database, run, source_of(origin))
    with database.reading() as session:
        np.testing.assert_array_equal(images_of(session, run)[0], images.images)


def test_small_sets_are_read_at_once(shards: Path, tmp_path: Path) -> None:
    assert source_for(ClassificationRequest(data=str(shards))) is None
    large = np.lib.format.open_memmap(tmp_path / "a.npy", "w+", np.uint8, (65_536, 32, 32))
    large.flush()
    found = source_for(ClassificationRequest(data=str(tmp_path / "a.npy"), limit=65_536, name="mine"))
    assert found is not None
    assert (found.name, found.count, found.origin.limit) == ("mine", 65_536, None)
    assert source_for(ClassificationRequest(data=str(tmp_path / "a.npy"), limit=65_535)) is None
    assert source_for(ClassificationRequest(data=str(tmp_path / "a.npy"), resize="28")) is None
