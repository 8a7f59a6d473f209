"""CSV of pixels: headers, labels, and faulty lines."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from producer.images import stream
from producer.images.arrays import table
from producer.images.imageset import ImageSet
from producer.images.preprocessing import Preprocessing, ReadAs
from producer.images.source import read_images
from schema.errors import ImageError


def reading(folder: Path, text: str | bytes, name: str = "a.csv") -> ImageSet:
    content = text.encode() if isinstance(text, str) else text
    (folder / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    return read_images(folder / name)


@pytest.mark.parametrize(
    ("text", "images", "labels"),
    [
        ("1,2,3,4\n5,6,7,8\n", [[[1, 2], [3, 4]], [[5, 6], [7, 8]]], None),
        ("9,1,2,3,4\n0,5,6,7,8\n", [[[1, 2], [3, 4]], [[5, 6], [7, 8]]], [9, 0]),
        ("label,1x1,1x2,2x1,2x2\n9,1,2,3,4\n", [[[1, 2], [3, 4]]], [9]),
        ("p0,p1,p2,p3,Label\n1,2,3,4,9\n", [[[1, 2], [3, 4]]], [9]),
        ("label,0,1,2,3\n9,1,2,3,4\n", [[[1, 2], [3, 4]]], [9]),
        ('"label","a","b","c","d"\n"9","1","2","3","4"\n', [[[1, 2], [3, 4]]], [9]),
        ("p0,p1,p2,p3\n1,2,3,4\n", [[[1, 2], [3, 4]]], None),
        ("\n\n1,2,3,4\n\n5,6,7,8\n\n", [[[1, 2], [3, 4]], [[5, 6], [7, 8]]], None),
        ("1, 2, 3, 4\r\n5,6 ,7,8\r\n", [[[1, 2], [3, 4]], [[5, 6], [7, 8]]], None),
        ("7\n", [[[7]]], None),
        ("1,7\n", [[[7]]], [1]),
        ("1,0,1,1", [[[1, 0], [1, 1]]], None),  # integers are never scaled
        ("1.0,0,1,0.5", [[[255, 0], [255, 128]]], None),
        ("4,0.0,100.4,255,7", [[[0, 100], [255, 7]]], [4]),
        ("300,1,2,3,4", [[[1, 2], [3, 4]]], [300]),
    ],
)
@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz", "A.CSV"])
def test_tables_that_are_read(
    tmp_path: Path, text: str, images: list, labels: list | None, name: str
) -> None:
    found = reading(tmp_path, text, name)
    assert found.images.tolist() == images
    assert (None if found.labels is None else found.labels.tolist()) == labels


def test_a_byte_order_mark_is_no_part_of_the_first_field(tmp_path: Path) -> None:
    found = reading(tmp_path, "label,a,b,c,d\n3,1,2,3,4\n".encode("utf-8-sig"))
    assert found.labels.tolist() == [3]


@given(images=arrays.arrays(np.float64, (3, 2, 2), elements=st.floats(0, 255)))
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_floats_are_taken_as_from_npy(tmp_path: Path, images: np.ndarray) -> None:
    text = "\n".join(",".join(repr(float(value)) for value in row) for row in images.reshape(3, 4))
    np.save(tmp_path / "a.npy", images)
    np.testing.assert_array_equal(reading(tmp_path, text).images, read_images(tmp_path / "a.npy").images)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no images: it has no lines"),
        (" \n\n", "holds no images: it has no lines"),
        ("label,a,b,c,d\n", "no lines after its header"),
        ("1,2,3,4\n1,2,x,4\n", "'x' in line 2, column 3: give a number"),
        ("label,a,b,c,d\n0,1,2,3,4\n\n0,1,2,3,four\n", "'four' in line 4, column 5: give a number"),
        ("1,2,x,4\n", "'x' in line 1, column 3: give a number"),
        ("1,2,3,\n", "'' in line 1, column 4: give a number"),
        ("1,2,3,4\n5,6,7\n", "3 values in line 2 and 4 in the lines before"),
        ("1,2,3,4\n5,6,7,8,9\n", "5 values in line 2 and 4 in the lines before"),
        ("label,a,b,c,d\n1,2,3,4\n", "5 columns in its header and 4 in the lines below"),
        ("1,2,3\n", "3 columns, which do not make a square image"),
        ("a,b,c,d,e\n1,2,3,4,5\n", "5 columns, which do not make a square image.*a column called 'label'"),
        ("label\n1\n", "1 columns, which do not make a square image"),
        ("1;2;3;4\n1;2;3;4", "'1;2;3;4' in line 2, column 1: separate numbers by commas"),
        ("1\t2\n3\t4", "line 2, column 1: separate numbers by commas"),
        (
            "a.txt\nb.txt\nc.png",
            "'b.txt' in line 2, column 1: give a number; a CSV of pictures begins with a",
        ),
        ("1,2\n1,a/b", "'a/b' in line 2, column 2: give a number; a CSV of pictures begins with a header"),
        ("1,2,nan,4\n", r"NaN pixels in image 0 \(counted from 0\)"),
        ("1,2,3,4\n1,2,-inf,4\n", r"infinite pixels in image 1 \(counted from 0\)"),
        ("1,2,3,256\n", "pixels from 1 to 256"),
        ("1,2,3,-1\n", "pixels from -1 to 3"),
        ("1,2,3,99999999999999999999\n", r"pixels from 1 to 1e\+20"),
        ("-1,1,2,3,4\n", "label -1 for image 0"),
        ("0.5,1,2,3,4\n", r"label 0\.5 for image 0 .* is not a whole number"),
        ("1_0,2,3,4\n", "is not a table of numbers"),
        ('"1,2,3,4\n', "a square image|a table of numbers"),
        ("1,2,3,4\n\x1b[31m,2,3,4\n", "'\ufffd.* in line 2, column 1"),
    ],
)
def test_lines_at_fault_are_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ImageError, match=rf"a\.csv .*({message})"):
        reading(tmp_path, text)


@pytest.mark.parametrize("content", [b"\xff\xfe1\0,\0", "1,2,3,é".encode("latin-1"), bytes(range(128, 200))])
def test_other_encodings(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(ImageError, match=r"a\.csv is not UTF-8 text"):
        reading(tmp_path, content)


def test_broken_gzip(tmp_path: Path) -> None:
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(b"1,2,3,4\n" * 999)[:-9])
    with pytest.raises(ImageError, match=r"a\.csv\.gz is truncated"):
        read_images(tmp_path / "a.csv.gz")


def test_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "1,2,3,4\n" * 10
    monkeypatch.setattr(stream, "MAX_TEXT_BYTES", 79)
    with pytest.raises(ImageError, match=r"a\.csv\.gz is text of more than 79 bytes: split it"):
        reading(tmp_path, text, "a.csv.gz")
    monkeypatch.setattr(stream, "MAX_TEXT_BYTES", 80)
    assert len(reading(tmp_path, text).images) == 10
    monkeypatch.setattr(table, "MAX_BYTES", 319)
    with pytest.raises(ImageError, match=r"10 lines, 320 bytes, more than .* lines or 319 bytes"):
        reading(tmp_path, text)
    monkeypatch.setattr(table, "MAX_BYTES", 320)
    monkeypatch.setattr(table, "MAX_IMAGES", 9)
    with pytest.raises(ImageError, match=r"10 lines, .* more than 9 lines"):
        reading(tmp_path, text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1,2\n3,4\n", "has 2 columns: give one label per line"),
        ("1\ncat\n", "has 'cat' in line 2, column 1: give a number"),
    ],
)
def test_files_of_labels_at_fault(tmp_path: Path, text: str, message: str) -> None:
    np.save(tmp_path / "i.npy", np.zeros((2, 2, 2)))
    (tmp_path / "l.txt").write_text(text)
    with pytest.raises(ImageError, match=rf"l\.txt {message}"):
        read_images(tmp_path / "i.npy", tmp_path / "l.txt")


def test_labels_from_a_column_of_a_larger_table(tmp_path: Path) -> None:
    np.save(tmp_path / "i.npy", np.zeros((2, 2, 2)))
    (tmp_path / "l.csv").write_text("id,label\n7,1\n8,0\n")
    assert read_images(tmp_path / "i.npy", tmp_path / "l.csv").labels.tolist() == [1, 0]


def test_rows_of_values_are_vectors_where_one_says_so(tmp_path: Path) -> None:
    as_vectors = Preprocessing(read_as=ReadAs.VECTORS)
    (tmp_path / "a.csv").write_text("a,label,b,c\n1.5,3,2,-4\n0.25,1,5,6\n")
    read = read_images(tmp_path / "a.csv", preprocessing=as_vectors)
    assert (read.images.dtype, read.images.tolist()) == (np.float32, [[1.5, 2, -4], [0.25, 5, 6]])
    assert read.labels is not None
    assert read.labels.tolist() == [3, 1]
    (tmp_path / "a.csv").write_text("7,1,2,3,4\n8,1,2,3,4\n")
    read = read_images(tmp_path / "a.csv", preprocessing=as_vectors)
    assert (read.labels, read.images.shape) == (None, (2, 5))
    (tmp_path / "a.csv").write_text("1,2,3\n4,5,nan\n")
    with pytest.raises(ImageError, match="has NaN in vector 1"):
        read_images(tmp_path / "a.csv", preprocessing=as_vectors)
    with pytest.raises(ImageError, match=r"2 vectors of 3 values or one picture: .* --as"):
        read_images(tmp_path / "a.csv")


@pytest.mark.parametrize(
    ("text", "read_as", "vectors", "labels"),
    [
        ("label,a,b,c\n9,0.5,-2,3\n0,1,2,3e3\n", None, [[0.5, -2, 3], [1, 2, 3000]], [9, 0]),
        ("9,1,2,3,4\n0,5,6,7,8\n", ReadAs.VECTORS, [[9, 1, 2, 3, 4], [0, 5, 6, 7, 8]], None),
        ("a,b,c,d,y\n1,2,3,4,9\n", ReadAs.VECTORS, [[1, 2, 3, 4]], [9]),
        ("1,2,3\n", ReadAs.VECTORS, [[1, 2, 3]], None),
    ],
)
def test_vectors(
    tmp_path: Path, text: str, read_as: ReadAs | None, vectors: list, labels: list | None
) -> None:
    (tmp_path / "a.csv").write_text(text)
    found = read_images(tmp_path / "a.csv", preprocessing=Preprocessing(read_as=read_as))
    assert found.images.dtype == np.float32
    assert found.images.tolist() == vectors
    assert (None if found.labels is None else found.labels.tolist()) == labels


def test_lines_that_may_be_vectors_or_a_picture_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"2 vectors of 3 values or one picture: say which by --as"):
        reading(tmp_path, "0.5,2,3\n1,2,3\n")
    with pytest.raises(ImageError, match=r"3 columns, which do not make .* --as vectors"):
        reading(tmp_path, "1,2,3\n1,2,3\n")
