"""Parquet files of pictures and vectors: columns, labels, splits and shards, and rows from any row on."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from producer.images.columns.open import open_parquet
from producer.images.columns.pieces import ColumnPieces
from producer.images.pieces.allowance import Allowance
from producer.images.preprocessing import AS_IS, Changes, Preprocessing
from producer.images.source import read_images
from schema.errors import ImageError
from tests.conftest import data_file

pa = pytest.importorskip("pyarrow", reason="needs annealq[parquet]")
pq = pytest.importorskip("pyarrow.parquet", reason="needs annealq[parquet]")

GREY = np.random.default_rng(3).integers(0, 256, (40, 6, 5), np.uint8)


def png(image: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    return file.getvalue()


def pictures(images: Any = GREY, **paths: Any) -> list[dict[str, Any]]:
    return [{"bytes": png(image), "path": paths.get("path", f"{k}.png")} for k, image in enumerate(images)]


def write(path: Path, columns: dict[str, Any], features: object = None, **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pa.table(columns)
    if features is not None:
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    pq.write_table(table, path, **options)
    return path


def opened(path: Path, part: str | None = None, preprocessing: Preprocessing = AS_IS) -> ColumnPieces:
    changes = Changes()
    return ColumnPieces(open_parquet(path, part, changes), preprocessing, changes, Allowance())


@pytest.mark.parametrize(("split", "count"), [("train", 300), ("test", 100)])
def test_a_data_set_of_hugging_face(split: str, count: int) -> None:
    read = read_images(f"{data_file('hf_eurosat_parquet')}:{split}")
    assert (len(read.images), len(read.labels or ()) if read.labels is None else len(read.labels)) == (
        count,
    ) * 2
    assert read.classes is not None
    assert read.classes[:3] == ("AnnualCrop", "Forest", "HerbaceousVegetation")
    assert read.sources is not None
    # The names of these files begin with their class.
    assert [read.classes[label] for label in read.labels.tolist()] == [  # type: ignore[union-attr]
        source.split("_")[0] for source in read.sources
    ]
    assert read.name == f"hf_eurosat_parquet:{split}"


def test_columns_labels_and_names(tmp_path: Path) -> None:
    names = {"_type": "ClassLabel", "names": ["cat", "dog"]}
    labels = (np.arange(40) % 2).tolist()
    features = {"image": {"_type": "Image"}, "label": names}
    path = write(tmp_path / "a.parquet", {"n": labels, "image": pictures(), "label": labels}, features)
    read = read_images(path)
    np.testing.assert_array_equal(read.images, GREY)
    assert (read.labels.tolist(), read.classes) == (labels, ("cat", "dog"))  # type: ignore[union-attr]
    assert read.sources == tuple(f"{k}.png" for k in range(40))


def test_bytes_without_paths_and_labels_that_are_text(tmp_path: Path) -> None:
    words = ["dog", "cat"] * 20
    encoded = pa.array(words).dictionary_encode()
    data = [png(image) for image in GREY]
    for labels in (words, encoded):
        read = read_images(write(tmp_path / "a.parquet", {"img": data, "class": labels}))
        np.testing.assert_array_equal(read.images, GREY)
        assert (read.sources, read.classes) == (None, ("cat", "dog"))
        assert read.labels.tolist() == [1, 0] * 20  # type: ignore[union-attr]
        assert read.notes == ("labels are those of column 'class'",)


def test_unknown_labels_are_none(tmp_path: Path) -> None:
    read = read_images(write(tmp_path / "a.parquet", {"image": pictures(), "label": [-1] * 40}))
    assert (read.labels, read.notes) == (None, ("labels of column 'label' are -1, unknown, and not read",))


def test_rows_are_read_from_any_row_on_across_row_groups_and_shards(tmp_path: Path) -> None:
    labels = np.arange(40)
    for shard, (start, end) in enumerate([(0, 17), (17, 40)]):
        rows = slice(start, end)
        columns = {"image": pictures(GREY[rows]), "label": labels[rows]}
        write(tmp_path / "data" / f"train-{shard:05}-of-00002.parquet", columns, row_group_size=5)
    pieces = opened(tmp_path)
    assert (pieces.count, pieces.shape, pieces.labelled) == (40, (6, 5), True)
    assert [shard.first for shard in pieces.shards] == [0, 17]
    for first in (0, 1, 4, 5, 16, 17, 18, 39, 40):
        found = list(pieces.read(first))
        rows = np.concatenate([np.empty(0, int), *(piece.rows for piece in found)])
        assert rows.tolist() == list(range(first, 40))
        for piece in found:
            np.testing.assert_array_equal(piece.images, GREY[piece.rows])
            assert piece.labels is not None
            np.testing.assert_array_equal(piece.labels, piece.rows)
            assert (piece.rows >= 17).tolist() == [piece.shard == 1] * len(piece.rows)


def test_unreadable_pictures_are_left_out_and_the_rows_say_which(tmp_path: Path) -> None:
    column = pictures()
    column[0], column[7]["bytes"] = None, b"no picture"  # type: ignore[call-overload]
    path = write(tmp_path / "a.parquet", {"image": column, "label": np.arange(40)})
    with pytest.raises(ImageError, match=r"a\.parquet row 0 has no picture: add or drop it; --skip-unread"):
        read_images(path)
    kept = [k for k in range(40) if k not in (0, 7)]
    leave_out = Preprocessing(skip_unreadable=True)
    read = read_images(path, preprocessing=leave_out)
    assert read.labels is not None
    assert read.labels.tolist() == kept
    assert read.notes == ("2 left out, as unreadable (row 0, 7.png)",)
    assert [row for piece in opened(path, None, leave_out).read() for row in piece.rows] == kept


@pytest.mark.parametrize("kind", [pa.list_(pa.float32()), pa.list_(pa.float64()), pa.list_(pa.int8(), 3)])
def test_vectors(tmp_path: Path, kind: Any) -> None:
    values = np.arange(24).reshape(8, 3)
    column = pa.array(values.tolist(), kind)
    pieces = opened(write(tmp_path / "a.parquet", {"embedding": column, "y": range(8)}, row_group_size=3))
    assert (pieces.shape, pieces.dtype, pieces.count) == ((3,), np.float32, 8)
    np.testing.assert_array_equal(np.concatenate([piece.images for piece in pieces.read(2)]), values[2:])


def test_vectors_become_a_set_of_images(tmp_path: Path) -> None:
    values = np.arange(24, dtype=np.float32).reshape(8, 3)
    columns = {"features": pa.array(values.tolist(), pa.list_(pa.float32())), "label": ["a", "b"] * 4}
    read = read_images(write(tmp_path / "a.parquet", columns))
    np.testing.assert_array_equal(read.images, values)
    assert (read.images.dtype, read.classes) == (np.float32, ("a", "b"))
    assert read.labels is not None
    assert read.labels.tolist() == [0, 1] * 4


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([[1.0, 2.0], [1.0]], "2 values in row 0 and 1 in row 1: give all vectors one length"),
        ([[1.0], [float("nan")]], "NaN, infinite or too large values in row 1: repair"),
        ([[1.0], [1e300]], "NaN, infinite or too large values in row 1: repair"),
        ([[1.0], [None]], "a missing value in row 1"),
        ([[1.0], None], "no vector in row 1"),
        ([[], []], "vectors of 0 values, not 1 to 65,536"),
        ([[0.0] * 65_537], "vectors of 65,537 values, not 1 to 65,536"),
    ],
)
def test_vectors_that_cannot_be_used(tmp_path: Path, rows: list[Any], message: str) -> None:
    path = write(tmp_path / "a.parquet", {"x": pa.array(rows, pa.list_(pa.float64()))})
    with pytest.raises(ImageError, match=message):
        list(opened(path).read())


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"image": pictures(), "label": [0] * 39 + [None]}, r"no label in row 39 \(counted from 0\)"),
        ({"image": pictures(), "label": [0.5] * 40}, "label 0.5 for image 0 .* not a whole number"),
        ({"image": pictures(), "label": [0] * 39 + [-1]}, "label -1 for image 39"),
        ({"image": pictures(), "label": [[0]] * 40}, "labels of type list"),
        ({"image": pictures(), "label": ["x" * 1001] * 40}, "1,000 letters"),
        ({"a": pictures(), "b": pictures()}, r"several columns .*\('a', 'b'\)"),
        ({"x": [[[[[1]]]]]}, "no column of pictures or vectors .*: give pictures as bytes"),
        ({"label": [1]}, r"no column of pictures or vectors \(label: int64\)"),
        (
            {"image": [*pictures()[:3], {"bytes": None, "path": "/etc/passwd"}]},
            "names the file '/etc/passwd' instead of",
        ),
        ({"image": [b"GIF, not really"]}, "row 0 is damaged or not a PNG"),
        ({"image": pictures([GREY[0], GREY[1, :3]])}, "row 0 is 6 x 5, .*row 1 is 3 x 5.*--resize 28"),
        ({"image": []}, "no column of pictures or vectors"),
        ({"image": pa.array([], pa.binary())}, "no rows that can be read"),
    ],
)
def test_tables_that_cannot_be_used(tmp_path: Path, columns: dict[str, Any], message: str) -> None:
    with pytest.raises(ImageError, match=message):
        read_images(write(tmp_path / "a.parquet", columns))


@pytest.mark.parametrize(
    "noted",
    ["{", "[]", '{"info": 3}', '{"info": {"features": []}}', "[" * 100_000, "\xff"],
)
def test_damaged_notes_of_hugging_face(tmp_path: Path, noted: str) -> None:
    table = pa.table({"image": pictures()}).replace_schema_metadata({"huggingface": noted})
    pq.write_table(table, tmp_path / "a.parquet")
    with pytest.raises(ImageError, match="notes of Hugging Face's datasets that are damaged"):
        read_images(tmp_path / "a.parquet")


@pytest.mark.parametrize("names", [["a", 3], ["a", "a"], [], "ab", [""], {"0": "a"}])
def test_class_names_that_cannot_be_used(tmp_path: Path, names: object) -> None:
    features = {"label": {"_type": "ClassLabel", "names": names}}
    path = write(tmp_path / "a.parquet", {"image": pictures(), "label": [0] * 40}, features)
    with pytest.raises(ImageError, match="class names that are not different texts"):
        read_images(path)


def test_a_label_beyond_the_class_names(tmp_path: Path) -> None:
    features = {"label": {"_type": "ClassLabel", "names": ["a"]}}
    path = write(tmp_path / "a.parquet", {"image": pictures(), "label": [0] * 39 + [1]}, features)
    with pytest.raises(ImageError, match="label 1 in row 39 and 1 class names: make them agree"):
        read_images(path)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["train-00001-of-00002"], "lacks shard 00000 of 2: fetch all shards"),
        (["train-00000-of-00002", "train-00001-of-00003"], "shards of different sets"),
        (["train-00000-of-00001", "train"], "shards of different sets"),
        (["train-00000-of-00001", "train-00000-of-00001-0123456789abcdef"], "has a shard twice"),
        (["train-00000-of-00001", "test-00000-of-00001"], "several splits: choose one of .*:test, .*:train"),
        (["train", "test"], "several splits: choose one of .*:test, .*:train"),
    ],
)
def test_shards_and_splits_of_a_folder(tmp_path: Path, names: list[str], message: str) -> None:
    for name in names:
        write(tmp_path / f"{name}.parquet", {"image": pictures()})
    with pytest.raises(ImageError, match=message):
        read_images(tmp_path)


def test_a_split_is_chosen_by_name_and_one_file_may_be_a_shard(tmp_path: Path) -> None:
    for name, end in (("train-00000-of-00001", 3), ("test-00001-of-00002", 4)):
        write(tmp_path / f"{name}.parquet", {"image": pictures(GREY[:end])})
    (tmp_path / "test-00001-of-00002.parquet").rename(tmp_path / "test.parquet")
    assert len(read_images(f"{tmp_path}:train").images) == 3
    assert len(read_images(tmp_path, part="test").images) == 4
    with pytest.raises(ImageError, match=r"no split called 'x': choose one of .*:test, .*:train"):
        read_images(f"{tmp_path}:x")
    with pytest.raises(ImageError, match="is one file without splits: leave 'x' out"):
        read_images(f"{tmp_path}/test.parquet:x")
    (tmp_path / "test.parquet").rename(tmp_path / "test-00001-of-00002.parquet")
    shard = read_images(tmp_path / "test-00001-of-00002.parquet")
    assert shard.notes == ("shard 2 of 2 only: give the folder for all of them",)


def test_shards_of_other_columns_and_links_out_of_the_folder(tmp_path: Path) -> None:
    write(tmp_path / "a" / "0000.parquet", {"image": pictures()})
    write(tmp_path / "a" / "0001.parquet", {"image": pictures(), "label": [0] * 40})
    with pytest.raises(ImageError, match="has other columns than"):
        read_images(tmp_path / "a")
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "0000.parquet").symlink_to(tmp_path / "a" / "0000.parquet")
    with pytest.raises(ImageError, match="is a symbolic link out of"):
        read_images(tmp_path / "b")


def test_without_pyarrow_the_error_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "a.parquet", {"image": pictures()})
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ImageError, match=r"pip install 'annealq\[parquet\]'"):
        read_images(path)
