"""Folders that `save_to_disk` of Hugging Face's `datasets` wrote: Arrow streams, splits, hostile files."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from producer.images.columns.files import messages
from producer.images.columns.open import open_arrow
from producer.images.columns.pieces import ColumnPieces
from producer.images.pieces.allowance import Allowance
from producer.images.preprocessing import AS_IS, Changes
from producer.images.source import read_images
from schema.errors import ImageError
from tests.conftest import data_file
from tests.unit.producer.images.columns.test_parquet import GREY, pictures

pa = pytest.importorskip("pyarrow", reason="needs annealq[parquet]")

STREAM = "data-00000-of-00001.arrow"


def save(folder: Path, columns: dict[str, Any] | None = None, rows: int = 7, **state: Any) -> Path:
    """Write a data set as `save_to_disk` does, in batches of ``rows``."""
    folder.mkdir(parents=True, exist_ok=True)
    if columns is None:
        columns = {"image": pictures(), "label": np.arange(40)}
    table = pa.table(columns)
    with pa.OSFile(str(folder / STREAM), "wb") as file, pa.ipc.new_stream(file, table.schema) as writer:
        writer.write_table(table, max_chunksize=rows)
    (folder / "state.json").write_text(json.dumps({"_data_files": [{"filename": STREAM}], **state}))
    return folder


@pytest.mark.parametrize("split", ["train", "test"])
def test_a_saved_data_set_has_the_rows_of_its_parquet_files(split: str) -> None:
    saved = read_images(f"{data_file('hf_eurosat_disk')}:{split}")
    other = read_images(f"{data_file('hf_eurosat_parquet')}:{split}")
    np.testing.assert_array_equal(saved.images, other.images)
    np.testing.assert_array_equal(saved.labels, other.labels)  # type: ignore[arg-type]
    assert (saved.classes, saved.sources) == (other.classes, other.sources)


def test_splits_a_data_set_alone_and_one_stream(tmp_path: Path) -> None:
    save(tmp_path / "a" / "train")
    save(tmp_path / "a" / "test")
    (tmp_path / "a" / "dataset_dict.json").write_text('{"splits": ["train", "test"]}')
    for source in ("a:train", "a/test", f"a/test/{STREAM}"):
        read = read_images(f"{tmp_path}/{source}")
        np.testing.assert_array_equal(read.images, GREY)
        assert read.labels is not None
        assert read.labels.tolist() == list(range(40))
    with pytest.raises(ImageError, match=r"several splits: choose one of .*a:test, .*a:train"):
        read_images(tmp_path / "a")
    with pytest.raises(ImageError, match="no split called 'x'"):
        read_images(f"{tmp_path}/a:x")


def test_rows_are_read_from_any_row_on(tmp_path: Path) -> None:
    changes = Changes()
    pieces = ColumnPieces(open_arrow(save(tmp_path), None, changes), AS_IS, changes, Allowance())
    for first in (0, 6, 7, 20, 39, 40):
        found = list(pieces.read(first))
        rows = np.concatenate([np.empty(0, int), *(piece.rows for piece in found)])
        assert rows.tolist() == list(range(first, 40))
        for piece in found:
            np.testing.assert_array_equal(piece.images, GREY[piece.rows])
            np.testing.assert_array_equal(piece.labels, piece.rows)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (
            {"_indices_data_files": [{"filename": "indices.arrow"}]},
            r"\(_indices\): call data\.flatten_indices",
        ),
        ({"_data_files": [{"filename": "../data.arrow"}]}, "does not name files in its folder"),
        ({"_data_files": [{"filename": "/etc/passwd"}]}, "does not name files in its folder"),
        ({"_data_files": [{"filename": ".."}]}, "does not name files in its folder"),
        ({"_data_files": [{"filename": 3}]}, "does not name files in its folder"),
        ({"_data_files": []}, "does not name files in its folder"),
        ({"_data_files": [{"filename": "gone.arrow"}]}, r"gone\.arrow does not exist"),
    ],
)
def test_states_that_cannot_be_used(tmp_path: Path, state: dict[str, Any], message: str) -> None:
    with pytest.raises(ImageError, match=message):
        read_images(save(tmp_path, **state))


@pytest.mark.parametrize("text", ["", "{", "3", "[" * 100_000, "\xff", " " * 2**20 + "{}"])
def test_damaged_json(tmp_path: Path, text: str) -> None:
    save(tmp_path / "a")
    (tmp_path / "a" / "state.json").write_text(text, "latin-1")
    with pytest.raises(ImageError, match=r"state\.json is damaged or too long: save the data set again"):
        read_images(tmp_path / "a")
    (tmp_path / "dataset_dict.json").write_text('{"splits": ["../a"]}')
    with pytest.raises(ImageError, match="does not name the splits"):
        read_images(tmp_path)


def test_links_out_of_the_folder(tmp_path: Path) -> None:
    save(tmp_path / "a")
    save(tmp_path / "b")
    (tmp_path / "b" / STREAM).unlink()
    (tmp_path / "b" / STREAM).symlink_to(tmp_path / "a" / STREAM)
    with pytest.raises(ImageError, match="is a symbolic link out of"):
        read_images(tmp_path / "b")


def test_streams_that_would_be_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.arrow"
    table = pa.table({"image": [bytes(2**20)]})
    for codec in ("zstd", "lz4"):
        options = pa.ipc.IpcWriteOptions(compression=codec)
        with (
            pa.OSFile(str(path), "wb") as file,
            pa.ipc.new_stream(file, table.schema, options=options) as out,
        ):
            out.write_table(table)
        with pytest.raises(ImageError, match=r"is compressed.*data\.to_parquet"):
            read_images(path)
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, table.schema) as out:
        out.write_table(table)
    with pytest.raises(ImageError, match="is an Arrow file, not a stream"):
        read_images(path)
    encoded = pa.table({"image": pictures(), "label": pa.array(["a", "b"] * 20).dictionary_encode()})
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, encoded.schema) as out:
        out.write_table(encoded)
    with pytest.raises(ImageError, match="other messages than one schema and its rows"):
        read_images(path)
    monkeypatch.setattr(messages, "MAX_GROUP_BYTES", 1000)
    with pytest.raises(ImageError, match=r"has a batch of .*, more than 1,000 bytes"):
        read_images(save(tmp_path / "b"))


def test_damaged_streams_are_refused_by_name(tmp_path: Path) -> None:
    save(tmp_path, rows=40)
    good, damaged = (tmp_path / STREAM).read_bytes(), tmp_path / "damaged.arrow"
    for end in (0, 1, 7, 8, 100, len(good) // 2, len(good) - 20):
        damaged.write_bytes(good[:end])
        with pytest.raises(ImageError, match=r"damaged\.arrow"):
            read_images(damaged)
    rng = np.random.default_rng(0)
    metadata = struct.unpack_from("<i", good, 4)[0] + 1000
    refused = unnamed = 0
    for _ in range(200):
        data = bytearray(good)
        for place in rng.integers(0, metadata, 2):
            data[place] = rng.integers(256)
        damaged.write_bytes(data)
        try:
            read_images(damaged)
        except ImageError as error:
            refused += "damaged.arrow" in str(error)
            unnamed += "damaged.arrow" not in str(error)
    assert (refused > 50, unnamed) == (True, 0)
