"""Parquet files that are damaged, or made to take memory, are refused before they do."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from producer.images.columns.files import parquet
from producer.images.columns.files.pages import check_pages
from producer.images.limits import MAX_PAGE_BYTES
from producer.images.source import read_images
from schema.errors import ImageError
from tests.unit.producer.images.columns.test_parquet import GREY, opened, pictures, png, write

pa = pytest.importorskip("pyarrow", reason="needs annealq[parquet]")
pytest.importorskip("pyarrow.parquet", reason="needs annealq[parquet]")

BATCHES_BYTES = 40 * 2**20  # some batches and pages


@contextmanager
def counted() -> Iterator[Any]:
    """Yield the pool that Arrow takes all memory from in the block."""
    usual, pool = pa.default_memory_pool(), pa.proxy_memory_pool(pa.system_memory_pool())
    pa.set_memory_pool(pool)
    try:
        yield pool
    finally:
        pa.set_memory_pool(usual)


def test_a_dictionary_that_expands_to_a_gigabyte_is_read_in_little_memory(tmp_path: Path) -> None:
    padded = png(GREY[0]) + bytes(2**20)
    values = pa.array([padded, png(GREY[0, :3])])
    images = pa.DictionaryArray.from_arrays(pa.array([0] * 1024 + [1], pa.int32()), values)
    path = write(tmp_path / "bomb.parquet", {"image": images}, compression="zstd", store_schema=False)
    assert path.stat().st_size < 10_000
    with counted() as pool, pytest.raises(ImageError, match=r"row 0 is 6 x 5, .* row 1,024 is 3 x 5"):
        read_images(path)
    assert 2**20 < pool.max_memory() < BATCHES_BYTES


def test_a_page_that_announces_too_much_is_not_unpacked(tmp_path: Path) -> None:
    path = write(tmp_path / "bomb.parquet", {"image": [bytes(MAX_PAGE_BYTES + 1)]}, compression="zstd")
    assert path.stat().st_size < 33_000
    message = r"a page that unpacks to 64\.0 MiB, more than 64\.0 MiB"
    with counted() as pool, pytest.raises(ImageError, match=message):
        read_images(path)
    assert pool.max_memory() < 2**20


def test_one_row_with_all_values_of_a_row_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet, "MAX_GROUP_BYTES", 8 * 700_000 - 1)
    values = pa.array(np.zeros(700_000, np.float32))
    lists = pa.ListArray.from_arrays(pa.array([0, 700_000], pa.int32()), values)
    path = write(tmp_path / "bomb.parquet", {"x": lists}, compression="zstd")
    assert path.stat().st_size < 2_000
    with pytest.raises(ImageError, match=r"a row group of 700,000 values .*row_group_size=10_000"):
        opened(path)


def header(unpacked: int, packed: int, *more: bytes) -> bytes:
    """Return a page header in Thrift's compact protocol: two i32 fields 2 and 3, and ``more``."""

    def zigzag(number: int) -> bytes:
        number, data = number << 1, b""
        while number > 0x7F:
            data, number = data + bytes([number & 0x7F | 0x80]), number >> 7
        return data + bytes([number])

    return b"\x15\x00\x15" + zigzag(unpacked) + b"\x15" + zigzag(packed) + b"".join(more) + b"\0"


def test_page_headers_are_walked_to_the_end_of_the_chunk() -> None:
    data = header(5, 3) + b"abc" + header(70, 4) + b"abcd"
    assert check_pages(io.BytesIO(b"PAR1" + data), 4, len(data), "a") == (70, 0, 0)


@pytest.mark.parametrize(
    ("dictionary", "encoding", "value"),
    [(None, 0, 250), (None, 6, 250), (None, 7, 1000), (None, 8, 1000), (3000, 8, 3000), (3000, 2, 3000)],
)
def test_bytes_that_a_value_may_have(dictionary: int | None, encoding: int, value: int) -> None:
    data = b"" if dictionary is None else header(dictionary, 0)
    data += header(1000, 0, bytes([0x2C, 0x15, 8, 0x15, 2 * encoding, 0]))
    found = check_pages(io.BytesIO(data), 0, len(data), "a")
    assert (found.values, found.value) == (4, value)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x15",
        header(5, 3)[:4],
        b"\x15\x00\0",  # neither size
        b"\x15\x00\x15" + b"\xff" * 11,  # a number without an end
        header(5, 3, b"\x1c" * 20),  # structures in structures
        header(5, 3, b"\x18" + b"\xff\xff\xff\xff\x07"),  # text that is longer than the file
        header(5, 3, b"\x19\xf5"),  # a list
    ],
)
def test_damaged_page_headers(data: bytes) -> None:
    with pytest.raises(ImageError, match="a damaged page header at byte 0"):
        check_pages(io.BytesIO(data), 0, max(len(data), 1), "a")


def test_damaged_files_are_refused_by_name(tmp_path: Path) -> None:
    path = write(
        tmp_path / "good.parquet",
        {"image": pictures(), "label": np.arange(40)},
        {"label": {"_type": "ClassLabel", "names": [str(k) for k in range(40)]}},
        row_group_size=10,
        compression="snappy",
    )
    good, damaged = path.read_bytes(), tmp_path / "damaged.parquet"
    for end in (0, 3, 4, 11, 100, len(good) // 2, len(good) - 1):
        damaged.write_bytes(good[:end])
        with pytest.raises(ImageError, match=r"damaged\.parquet"):
            read_images(damaged)
    rng = np.random.default_rng(0)
    refused = unnamed = 0
    for _ in range(150):
        data = bytearray(good)
        for place in rng.integers(4, len(good) - 8, 3):
            data[place] = rng.integers(256)
        damaged.write_bytes(data)
        try:
            read_images(damaged)
        except ImageError as error:
            refused += "damaged.parquet" in str(error)
            unnamed += "damaged.parquet" not in str(error)
    assert (refused > 50, unnamed) == (True, 0)
