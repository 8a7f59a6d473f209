"""Any array of numbers becomes float32 vectors, all finite; what was converted is counted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from producer.images.imageset import ImageSet
from producer.images.pieces import collector, stored
from producer.images.preprocessing import Changes, Preprocessing, ReadAs
from producer.images.source import read_images
from producer.images.values import vectors
from producer.images.values.vectors import to_vectors
from schema.errors import ImageError


@given(
    values=arrays.arrays(
        np.float32,
        st.tuples(st.integers(1, 5), st.integers(1, 6)),
        elements=st.floats(allow_nan=False, allow_infinity=False, width=32),
    )
)
def test_float32_stays_as_it_is(values: np.ndarray) -> None:
    changes = Changes()
    np.testing.assert_array_equal(to_vectors(values, "x", changes), values)
    assert changes.notes() == ()


@pytest.mark.parametrize("dtype", ["f2", "f8", "u1", "i4", "i8", "u8", ">f4"])
def test_other_types_are_converted_and_counted(dtype: str) -> None:
    values, changes = np.array([[0, 1], [2, 3], [4, 5]]).astype(dtype), Changes()
    found = to_vectors(values, "x", changes)
    assert (found.dtype, found.tolist()) == (np.float32, [[0, 1], [2, 3], [4, 5]])
    assert changes.notes() == (f"3 turned from {np.dtype(dtype).name} to float32",)


def test_a_stored_bool_of_any_byte_is_one() -> None:
    assert to_vectors(np.array([[2, 0]], np.uint8).view(bool), "x", Changes()).tolist() == [[1, 0]]


@pytest.mark.parametrize(
    ("value", "what"),
    [(np.nan, "NaN"), (np.inf, "inf, which is not a"), (1e39, "1e.39, which is not a finite float32")],
)
def test_the_first_value_that_is_not_finite_is_named(
    value: float, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stored, "CHUNK_BYTES", 100)  # two vectors at a time
    values = np.zeros((7, 5))
    values[[4, 6], 3] = value
    with pytest.raises(ImageError, match=rf"x has {what}.* in vector 4 \(counted from 0\), value 3"):
        to_vectors(values, "x", Changes())


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((0, 4), np.float32), "holds no vectors"),
        (np.zeros((4, 0), np.float32), "holds no vectors"),
        (np.zeros((1, 65_537), np.uint8), "vectors of 65,537 values, more than 65,536"),
        (np.zeros((2, 2, 2), np.float32), r"must be \(N, D\)"),
        (np.zeros((2, 2), complex), "values of type complex128"),
    ],
)
def test_what_cannot_be_vectors_is_refused(array: np.ndarray, message: str) -> None:
    with pytest.raises(ImageError, match=message):
        to_vectors(array, "x", Changes())


def test_limits_hold_before_anything_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vectors, "MAX_BYTES", 40)
    assert to_vectors(np.zeros((2, 5), np.uint8), "x", Changes()).nbytes == 40
    with pytest.raises(ImageError, match="3 vectors of 5 values are 60 bytes as float32, more than 40"):
        to_vectors(np.zeros((3, 5), np.uint8), "x", Changes())


def test_many_vectors_are_in_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(0).standard_normal((50, 30))
    np.savez(tmp_path / "v.npz", x_train=values, y_train=np.arange(50) % 3)
    whole = read_images(f"{tmp_path}/v.npz:train")
    monkeypatch.setattr(collector, "IN_MEMORY_BYTES", 1_000)
    in_file = read_images(f"{tmp_path}/v.npz:train")
    assert not in_file.images.flags.writeable
    np.testing.assert_array_equal(in_file.images, whole.images)
    np.testing.assert_array_equal(in_file.limit(7).images, values[:7].astype(np.float32))
    np.testing.assert_array_equal(in_file.only(["2"]).images, values[2::3].astype(np.float32))
    pixels = whole.images.view(np.uint8).reshape(50, 30, 4)  # of the same bytes
    assert in_file.digest() == whole.digest() != ImageSet("v", pixels, whole.labels, None, None).digest()


def test_the_choice_is_part_of_where_they_came_from(tmp_path: Path) -> None:
    np.save(tmp_path / "v.npy", np.ones((3, 4), np.float32))
    read = read_images(tmp_path / "v.npy", preprocessing=Preprocessing(read_as=ReadAs.VECTORS))
    assert read.origin is not None
    assert read.origin.options() == ["--as", "vectors"]
