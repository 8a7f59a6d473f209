"""IDX files: written by the format's definition and read back, or damaged in every way."""

from __future__ import annotations

import gzip
import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from producer.images import stream
from producer.images.arrays.idx import find_labels_file, open_idx
from producer.images.source import read_images
from schema.errors import ImageError

CODES = {"|u1": 0x08, "|i1": 0x09, ">i2": 0x0B, ">i4": 0x0C, ">f4": 0x0D, ">f8": 0x0E}
IMAGES = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)


def idx(array: np.ndarray) -> bytes:
    code = CODES[array.dtype.str]
    return struct.pack(f">HBB{array.ndim}I", 0, code, array.ndim, *array.shape) + array.tobytes()


@given(
    array=st.sampled_from(sorted(CODES)).flatmap(
        lambda dtype: arrays.arrays(np.dtype(dtype), arrays.array_shapes(max_dims=4, max_side=5))
    ),
    packed=st.booleans(),
)
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_round_trip(tmp_path: Path, array: np.ndarray, packed: bool) -> None:
    path = tmp_path / ("a-idx3-ubyte.gz" if packed else "a-idx3-ubyte")
    path.write_bytes(gzip.compress(idx(array)) if packed else idx(array))
    found = open_idx(path).whole()
    np.testing.assert_array_equal(found, array)
    assert found.dtype == array.dtype


def test_gzip_is_known_by_its_first_bytes_too(tmp_path: Path) -> None:
    (tmp_path / "t-images-idx3-ubyte").write_bytes(gzip.compress(idx(IMAGES)))
    np.testing.assert_array_equal(read_images(tmp_path / "t-images-idx3-ubyte").images, IMAGES)


@pytest.mark.parametrize(
    ("images", "labels"),
    [
        ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
        ("t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"),
        ("t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte"),
        ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte.gz"),
        ("train-images.idx3-ubyte", "train-labels.idx1-ubyte"),
        ("train-images.idx3-ubyte", "train-labels-idx1-ubyte.gz"),
        ("train-images-idx3-ubyte.gz", "train-labels.idx1-ubyte"),
    ],
)
def test_labels_are_found_beside(tmp_path: Path, images: str, labels: str) -> None:
    for name, array in ((images, IMAGES), (labels, np.array([7, 9], np.uint8))):
        content = idx(array)
        (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    assert read_images(tmp_path / images).labels.tolist() == [7, 9]


def test_labels_of_another_set_are_not_taken(tmp_path: Path) -> None:
    for name in ("train-labels-idx1-ubyte", "t10k-labels-idx3-ubyte", "digits-idx1-ubyte"):
        (tmp_path / name).write_bytes(b"")
    assert find_labels_file(tmp_path / "t10k-images-idx3-ubyte") is None
    assert find_labels_file(tmp_path / "digits-idx3-ubyte") is None


def test_given_labels_save_from_damaged_ones_beside(tmp_path: Path) -> None:
    (tmp_path / "t-images-idx3-ubyte").write_bytes(idx(IMAGES))
    (tmp_path / "t-labels-idx1-ubyte").write_bytes(b"rubbish")
    (tmp_path / "l.txt").write_text("1\n2\n")
    assert read_images(tmp_path / "t-images-idx3-ubyte", tmp_path / "l.txt").labels.tolist() == [1, 2]
    with pytest.raises(ImageError, match="t-labels-idx1-ubyte is not an IDX file"):
        read_images(tmp_path / "t-images-idx3-ubyte")


def test_labels_of_another_length_beside(tmp_path: Path) -> None:
    (tmp_path / "t-images-idx3-ubyte").write_bytes(idx(IMAGES))
    (tmp_path / "t-labels-idx1-ubyte").write_bytes(idx(np.zeros(5, np.uint8)))
    with pytest.raises(ImageError, match="t-labels-idx1-ubyte has 5 labels for 2 images"):
        read_images(tmp_path / "t-images-idx3-ubyte")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is truncated or empty"),
        (b"\0\0\x08", "is truncated or empty"),
        (b"\x89PNG\r\n\x1a\n", "its magic number is 0x89504e47"),
        (b"\0\x01\x08\x03" + bytes(40), "its magic number is 0x00010803"),
        (b"\0\0\x0a\x03" + bytes(40), "its magic number is 0x00000a03"),
        (b"\0\0\x08\x00", "has 0 dimensions"),
        (b"\0\0\x08\xff" + bytes(2000), "has 255 dimensions"),
        (b"\0\0\x08\x03" + bytes(7), "ends inside its header"),
        (
            idx(IMAGES)[:-1],
            r"is truncated \(it announces 2 x 3 x 4 values, 24 bytes, and can hold 23 at most",
        ),
        (idx(IMAGES)[:16], "can hold 0 at most"),
        (idx(IMAGES) + b"\0", "has bytes after the 24 bytes of data announced"),
        (idx(np.zeros(3, np.uint8)), "holds labels"),
        (idx(np.zeros((0, 28, 28), np.uint8)), "holds no images"),
        (idx(np.full((1, 2, 2), np.nan, ">f4")), r"NaN pixels in image 0 \(counted from 0\)"),
        (idx(np.full((1, 2, 2), -3, ">i2")), "pixels from -3 to -3"),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_damaged_files(tmp_path: Path, content: bytes, message: str, packed: bool) -> None:
    if packed and "can hold" in message:
        message = "is truncated"  # how much compressed data may hold is only an upper bound
    path = tmp_path / ("bad-idx3-ubyte.gz" if packed else "bad-idx3-ubyte")
    path.write_bytes(gzip.compress(content) if packed else content)
    with pytest.raises(ImageError, match=rf"bad-idx3-ubyte(\.gz)? .*{message}"):
        read_images(path)


@pytest.mark.parametrize(
    "shape",
    [
        (2**32 - 1,) * 3,
        (2**31, 1, 1),
        (2**32 - 1, 2**32 - 1, 0),
        (0, 2**32 - 1, 2**32 - 1),
        (50_000, 200, 200),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_absurd_sizes_cost_no_memory(tmp_path: Path, shape: tuple[int, ...], packed: bool) -> None:
    content = struct.pack(">HBB3I", 0, 8, 3, *shape) + bytes(100)
    path = tmp_path / "huge-idx3-ubyte"
    path.write_bytes(gzip.compress(content) if packed else content)
    tracemalloc.start()
    try:
        with pytest.raises(ImageError, match=r"more than|at most"):
            read_images(path)
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


def test_a_gzip_bomb_is_left_unread(tmp_path: Path) -> None:
    path = tmp_path / "bomb-idx3-ubyte.gz"
    path.write_bytes(gzip.compress(idx(IMAGES) + bytes(200 * 2**20), compresslevel=1))
    tracemalloc.start()
    try:
        with pytest.raises(ImageError, match="has bytes after the 24 bytes"):
            read_images(path)
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


def test_a_file_beyond_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a-idx3-ubyte").write_bytes(idx(IMAGES))
    monkeypatch.setattr(stream, "MAX_BYTES", 24)
    assert read_images(tmp_path / "a-idx3-ubyte").images.shape == IMAGES.shape
    monkeypatch.setattr(stream, "MAX_BYTES", 23)
    with pytest.raises(
        ImageError, match=r"announces 2 x 3 x 4 values of 1 bytes, more than 23 bytes: split it"
    ):
        read_images(tmp_path / "a-idx3-ubyte")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda data: data[:-12], r"is truncated \(its compressed data end too early"),
        (lambda data: data[:-1], r"is truncated \(its compressed data end too early"),
        (lambda data: data[:-8] + bytes(8), "contains damaged compressed data"),
        (lambda data: data[:12] + b"\xff\xff\xff" + data[15:], "contains damaged compressed data"),
        (lambda data: data + b"rubbish", "contains damaged compressed data"),
        (lambda _: b"not gzip at all", "contains damaged compressed data"),
        (lambda _: b"", "is truncated or empty"),
    ],
)
def test_broken_gzip(tmp_path: Path, damage, message: str) -> None:
    path = tmp_path / "broken-idx3-ubyte.gz"
    path.write_bytes(
        damage(gzip.compress(idx(np.random.default_rng(1).integers(0, 256, (9, 9, 9), np.uint8))))
    )
    with pytest.raises(ImageError, match=rf"broken-idx3-ubyte\.gz {message}"):
        read_images(path)
