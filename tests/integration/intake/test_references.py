"""Batches that name rows of a file: workers read and compare them, in allowed folders only."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import select

from producer.doctor import checksums
from producer.intake import groups
from producer.intake.find import source_for
from producer.intake.open import open_intake
from producer.intake.read_on import read_on
from producer.networks.chosen import ChosenNetwork
from producer.runs import control, queries
from producer.runs.request import ClassificationRequest, RunOptions
from producer.runs.rescore import enqueue_rescored
from producer.runs.results import image, images
from schema.database import Database
from schema.errors import AnnealqError, ImageError, ShardError
from schema.messages import Message, Task
from schema.parameters import Parameters, Solver
from schema.settings import load
from schema.settings.folders import allow_folders
from schema.shapes import ImageShape
from schema.shards.reference import ShardFormat, ShardRows
from schema.states import BatchState, RunState
from schema.tables import Batch, BatchImages
from tests.integration.conftest import some_images, work_off
from tests.integration.intake.test_shards import png, write
from worker.context import Context

IMAGES, SIZE = 38, 10


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder that batches may refer to; one batch of 10 images of 8 x 8 pixels in a transaction."""
    monkeypatch.setattr(groups, "_GROUP_BYTES", SIZE * 64)
    allowed = tmp_path / "allowed"
    allowed.mkdir()
    monkeypatch.setenv("ANNEALQ_REFERENCE_FOLDERS", str(allowed))
    load()
    yield allowed
    allow_folders(())


def npy(folder: Path) -> Path:
    np.save(folder / "images.npy", some_images(IMAGES).images)
    return folder / "images.npy"


def parquet(folder: Path) -> Path:
    drawn = some_images(IMAGES)
    assert drawn.labels is not None
    write(folder / "set", [png(each) for each in drawn.images], drawn.labels)
    return folder / "set"


def lists(folder: Path) -> Path:
    pa = pytest.importorskip("pyarrow", reason="needs annealq[parquet]")
    pq = pytest.importorskip("pyarrow.parquet", reason="needs annealq[parquet]")
    column = pa.array(some_images(IMAGES).images.tolist(), pa.list_(pa.list_(pa.uint8())))
    pq.write_table(pa.table({"image": column}), folder / "lists.parquet", row_group_size=7)
    return folder / "lists.parquet"


def enqueue(database: Database, network: ChosenNetwork, data: Path) -> int:
    source = source_for(ClassificationRequest(data=str(data), by_reference=True))
    assert source is not None
    options = RunOptions(batch_size=SIZE)
    parameters = Parameters(reads=5)
    run = open_intake(database, source, network, Solver.LOCAL, parameters, options, by_reference=True).id
    read_on(database, run, source)
    return run


def stored(database: Database, run: int) -> list[Any]:
    query = select(Batch.state, Batch.error, BatchImages.images, BatchImages.reference)
    query = query.join(BatchImages, BatchImages.batch_id == Batch.id).where(Batch.run_id == run)
    with database.reading() as session:
        return list(session.execute(query.order_by(Batch.ordinal)).all())


@pytest.mark.parametrize("write_set", [npy, parquet, lists])
def test_a_run_by_reference_has_the_images_and_holds_none(
    context: Context, working: ChosenNetwork, folder: Path, write_set: Callable[[Path], Path]
) -> None:
    database = context.database
    run = enqueue(database, working, write_set(folder))
    assert all(row.images == b"" and row.reference is not None for row in stored(database, run))
    work_off(context, Message(Task.DISPATCH))
    with database.reading() as session:
        assert queries.run(session, run).state is RunState.DONE
        np.testing.assert_array_equal(images(session, run)[0], some_images(IMAGES).images)
        np.testing.assert_array_equal(image(session, run, 27)[0], some_images(IMAGES).images[27])
    again = enqueue_rescored(database, run, {"reads": 3}).id
    assert [row.reference for row in stored(database, again)] == [
        row.reference for row in stored(database, run)
    ]
    assert list(checksums.checksums(database, lambda _done: None)) == []


def test_a_changed_file_fails_its_batches_until_it_is_restored(
    context: Context, working: ChosenNetwork, folder: Path
) -> None:
    database, path = context.database, npy(folder)
    run = enqueue(database, working, path)
    right = path.read_bytes()
    changed = bytearray(right)
    changed[-1] ^= 1
    path.write_bytes(changed)
    (found,) = checksums.checksums(database, lambda _done: None)
    assert "images.npy has other images than when they were enqueued" in found.what
    work_off(context, Message(Task.DISPATCH))
    states = [(row.state, row.error) for row in stored(database, run)]
    assert [state for state, _ in states] == [*[BatchState.SCORED] * 3, BatchState.FAILED]
    assert "restore the file as it was, and resume the run" in states[-1][1]
    path.write_bytes(right)
    control.resume(database, run)
    work_off(context, Message(Task.DISPATCH))
    with database.reading() as session:
        assert queries.run(session, run).state is RunState.DONE


def test_a_missing_file_fails_its_batches(context: Context, working: ChosenNetwork, folder: Path) -> None:
    path = npy(folder)
    run = enqueue(context.database, working, path)
    path.unlink()
    work_off(context, Message(Task.DISPATCH))
    assert {row.state for row in stored(context.database, run)} == {BatchState.FAILED}
    assert "cannot be read (No such file or directory)" in stored(context.database, run)[0].error


def test_no_file_outside_of_the_folders_is_read(
    database: Database, network: ChosenNetwork, tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ShardError, match=r"images.npy is in no folder that batches may refer to"):
        enqueue(database, network, npy(tmp_path))
    (folder / "link.npy").symlink_to(tmp_path / "images.npy")
    size = (tmp_path / "images.npy").stat().st_size
    for path in (folder / "link.npy", folder / ".." / "images.npy"):
        rows = ShardRows(str(path), ShardFormat.NPY, size, 0)
        with pytest.raises(ShardError, match="is in no folder"):
            rows.read(1, ImageShape((8, 8)))
    monkeypatch.delenv("ANNEALQ_REFERENCE_FOLDERS")
    load()
    with pytest.raises(ShardError, match="ANNEALQ_REFERENCE_FOLDERS is not set"):
        enqueue(database, network, npy(folder))


def test_rows_that_have_to_be_changed_cannot_be_named(
    database: Database, network: ChosenNetwork, folder: Path
) -> None:
    path = npy(folder)
    for changes in ({"invert": True}, {"classes": ("1",)}):
        with pytest.raises(AnnealqError, match=r"by.reference"):
            source_for(ClassificationRequest(data=str(path), by_reference=True, **changes))
    with pytest.raises(ImageError, match="scaled or left out: leave --by-reference out"):
        source_for(ClassificationRequest(data=str(path), by_reference=True, scale_pixels=True))
    colour = np.repeat(some_images(IMAGES).images[..., None], 3, axis=3)
    np.save(folder / "colour.npy", colour)
    with pytest.raises(ImageError, match="converted for this network"):
        enqueue(database, network, folder / "colour.npy")


def test_pixels_as_bytes_are_not_named(database: Database, working: ChosenNetwork, folder: Path) -> None:
    pa = pytest.importorskip("pyarrow", reason="needs annealq[parquet]")
    pq = pytest.importorskip("pyarrow.parquet", reason="needs annealq[parquet]")
    values = pa.array([each.tobytes() for each in some_images(IMAGES).images], pa.binary(64))
    schema = pa.schema([pa.field("image", values.type, metadata={"shape": "[8, 8]"})])
    pq.write_table(pa.Table.from_arrays([values], schema=schema), folder / "raw.parquet")
    with pytest.raises(
        ImageError, match=r"holds pixels as bytes, .*: write them as lists, or leave --by-ref"
    ):
        enqueue(database, working, folder / "raw.parquet")
