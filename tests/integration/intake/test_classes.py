"""Chosen classes of a large source are read in pieces: the same images as if it was read at once."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from producer.images.arrays.cifar_files import PIXELS
from producer.images.imageset import ImageSet
from producer.images.source import read_images
from producer.intake import find, groups
from producer.intake.find import source_for, source_of
from producer.intake.open import open_intake
from producer.intake.read_on import read_on
from producer.intake.source import LargeSource
from producer.intake.waiting import origin_of
from producer.networks.chosen import ChosenNetwork
from producer.runs.request import ClassificationRequest, RunOptions
from producer.runs.results import images as images_of
from schema.database import Database
from schema.errors import ImageError, StaleState
from schema.parameters import Parameters, Solver
from schema.states import IntakeState
from schema.tables import Intake
from tests.integration.conftest import some_images

IMAGES, SIZE = 95, 10
CLASSES = ("7", "2", "2")


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    """One batch in a transaction; any source is large."""
    monkeypatch.setattr(groups, "_GROUP_BYTES", SIZE * 64)
    monkeypatch.setattr(find, "READ_IN_PIECES_BYTES", 0)


def npy(folder: Path, images: ImageSet) -> tuple[Path, Path | None]:
    np.save(folder / "a.npy", images.images)
    np.save(folder / "labels.npy", np.asarray(images.labels))
    return folder / "a.npy", folder / "labels.npy"


def png(image: np.ndarray[Any, Any]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return buffer.getvalue()


def parquet(folder: Path, images: ImageSet) -> tuple[Path, Path | None]:
    pictures = [{"bytes": png(each), "path": None} for each in images.images]
    pq.write_table(pa.table({"image": pictures, "label": np.asarray(images.labels)}), folder / "a.parquet")
    return folder / "a.parquet", None


def zipped(folder: Path, images: ImageSet) -> tuple[Path, Path | None]:
    with zipfile.ZipFile(folder / "a.zip", "w") as archive:
        for row, (label, each) in enumerate(zip(np.asarray(images.labels), images.images, strict=True)):
            archive.writestr(f"{label}/{row:03}.png", png(each))
    return folder / "a.zip", None


WRITERS = (npy, parquet, zipped)


@pytest.mark.parametrize("limit", [None, 13])
@pytest.mark.parametrize("write", WRITERS)
def test_classes_and_then_a_limit_choose_the_images_that_are_chosen_at_once(
    database: Database,
    network: ChosenNetwork,
    tmp_path: Path,
    write: Callable[[Path, ImageSet], tuple[Path, Path | None]],
    limit: int | None,
) -> None:
    path, labels = write(tmp_path, some_images(IMAGES))
    text = None if labels is None else str(labels)
    request = ClassificationRequest(data=str(path), labels=text, classes=CLASSES, limit=limit)
    source = source_for(request)
    assert source is not None
    whole = request.select(read_images(path, labels))
    assert whole.origin is not None
    assert source.count == len(whole.images)
    assert source.origin.options() == whole.origin.options()
    run = opened(database, network, source)
    read_on(database, run, resumed(database, run))
    with database.reading() as session:
        pixels, numbers = images_of(session, run)
        assert session.get_one(Intake, run).state is IntakeState.ENDED
    np.testing.assert_array_equal(pixels, whole.images)
    np.testing.assert_array_equal(numbers, whole.labels)


def test_reading_goes_on_after_any_batch(database: Database, network: ChosenNetwork, tmp_path: Path) -> None:
    path, _ = parquet(tmp_path, some_images(IMAGES))
    classes = tuple("13579")
    source = source_for(ClassificationRequest(data=str(path), classes=classes))
    assert source is not None
    run = opened(database, network, source)

    def die(images: int) -> None:
        if images > done[-1]:
            done.append(images)
            raise StaleState("killed")

    with database.reading() as session:
        done = [len(images_of(session, run)[0])]
    while done[-1] < source.count:
        with pytest.raises(StaleState, match="killed"):
            read_on(database, run, resumed(database, run), die)
    read_on(database, run, resumed(database, run))
    assert len(done) == -(-source.count // SIZE)
    with database.reading() as session:
        pixels = images_of(session, run)[0]
    np.testing.assert_array_equal(pixels, read_images(path).only(classes).images)


def test_a_class_without_images_and_a_source_without_labels_are_refused(tmp_path: Path) -> None:
    path, labels = npy(tmp_path, some_images(IMAGES).only("01234"))
    with pytest.raises(ImageError, match=r"no image of class '7': choose among 0, 1, 2, 3, 4"):
        source_for(ClassificationRequest(data=str(path), labels=str(labels), classes=("1", "7")))
    with pytest.raises(ImageError, match="has no labels to choose classes by"):
        source_for(ClassificationRequest(data=str(path), classes=("1",)))


def test_labels_of_cifar_are_read_without_its_pixels(tmp_path: Path) -> None:
    records = np.random.default_rng(0).integers(0, 10, (700, 1 + PIXELS), np.uint8)
    (tmp_path / "test_batch.bin").write_bytes(records.tobytes())
    source = source_for(ClassificationRequest(data=str(tmp_path / "test_batch.bin"), classes=("3",)))
    assert source is not None
    np.testing.assert_array_equal(source.rows, np.flatnonzero(records[:, 0] == 3))


def opened(database: Database, network: ChosenNetwork, source: LargeSource) -> int:
    options = RunOptions(batch_size=SIZE)
    return open_intake(database, source, network, Solver.LOCAL, Parameters(reads=5), options).id


def resumed(database: Database, run: int) -> LargeSource:
    with database.reading() as session:
        return source_of(origin_of(session, run))
