"""Shapes of images: as texts, in words, and as arrays."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schema.codecs import arrays
from schema.codecs.arrays import images_digest
from schema.errors import Corrupt
from schema.shapes import ImageShape

sides = st.integers(1, 9)
shapes = st.one_of(
    st.builds(ImageShape.image, sides, sides, st.sampled_from([1, 3])),
    st.builds(ImageShape.vector, st.integers(1, 40)),
)


def some(shape: ImageShape, count: int, seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    if shape.is_vector:
        return random.standard_normal(shape.array(count), dtype=np.float32)
    return random.integers(0, 256, shape.array(count), np.uint8)


@given(shape=shapes)
def test_a_row_gives_the_shape_back(shape: ImageShape) -> None:
    row = shape.row()
    assert ImageShape.parse(row["shape"], row["dtype"]) == shape
    assert ImageShape.of(some(shape, 2)) == shape
    assert (shape.is_grey, shape.is_colour, shape.is_vector).count(True) == 1
    assert shape.nbytes == some(shape, 1).nbytes


@pytest.mark.parametrize(
    ("text", "dtype", "short", "words"),
    [
        ("28x28", "uint8", "28 x 28", "images of 28 x 28 pixels"),
        ("64x48x3", "uint8", "64 x 48 colour", "colour images of 64 x 48 pixels"),
        ("1280", "float32", "1,280 values", "vectors of 1,280 values"),
        ("1", "float32", "1 value", "vectors of 1 value"),
    ],
)
def test_shapes_in_words(text: str, dtype: str, short: str, words: str) -> None:
    shape = ImageShape.parse(text, dtype)
    assert (str(shape), shape.short, shape.words) == (text, short, words)


@pytest.mark.parametrize(
    ("text", "dtype"),
    [
        ("", "uint8"),
        ("28", "uint8"),
        ("28x28", "float32"),
        ("28x28x4", "uint8"),
        ("28x28x3x1", "uint8"),
        ("0x28", "uint8"),
        ("-1x28", "uint8"),
        ("28x28\n", "uint8"),
        ("1_0x2", "uint8"),
        ("٢x٢", "uint8"),
        ("99999999999x1", "uint8"),
        ("1280", "float64"),
        ("1280", "object"),
    ],
)
def test_other_texts_are_damage(text: str, dtype: str) -> None:
    with pytest.raises(Corrupt, match="are not known"):
        arrays.read_shape(text, dtype)


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((2, 3, 3), np.float32),
        np.zeros((2, 3), np.uint8),
        np.zeros((2, 3, 3, 4), np.uint8),
        np.zeros((2, 3)),
    ],
)
def test_arrays_of_another_kind_have_no_shape(array: np.ndarray) -> None:
    with pytest.raises(ValueError, match="no images have shape"):
        ImageShape.of(array)


@given(shape=shapes, count=st.integers(1, 4), labelled=st.booleans())
def test_stored_images_come_back(shape: ImageShape, count: int, labelled: bool) -> None:
    images = some(shape, count)
    data = arrays.encode_images(images)
    labels = arrays.encode_labels(np.arange(count)) if labelled else None
    sha256 = arrays.batch_checksum(data, shape, labels)
    np.testing.assert_array_equal(arrays.decode_images(data, count, shape, sha256, labels), images)
    with pytest.raises(Corrupt, match="damaged"):
        arrays.decode_images(data[:-1] + bytes([data[-1] ^ 1]), count, shape, sha256, labels)


@given(one=shapes, other=shapes)
def test_shape_and_type_are_sealed_where_images_are_not_grey(one: ImageShape, other: ImageShape) -> None:
    data = arrays.encode_images(some(one, 3))
    sha256 = arrays.batch_checksum(data, one, None)
    same = arrays.batch_checksum(data, other, None) == sha256
    assert same == (one == other or (one.is_grey and other.is_grey))


def test_grey_images_have_the_checksums_of_earlier_versions() -> None:
    images = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    data, labels = images.tobytes(), b"\1\0\2\0"
    shape = ImageShape.of(images)
    assert arrays.batch_checksum(data, shape, labels) == arrays.checksum(data + labels)
    assert arrays.training_checksum(2, shape, data, labels) == arrays.digest(b"(2, 3, 4)", data, labels)
    assert images_digest([b"x"], images, None) == arrays.digest(b"x", b"(2, 3, 4)", data, b"")
    arrays.decode_images(data, 2, shape, arrays.checksum(data), labels)  # labels were not covered once


@given(one=shapes, other=shapes)
def test_digests_tell_shapes_apart(one: ImageShape, other: ImageShape) -> None:
    pair = [some(one, 2), some(other, 2)]
    digests = {images_digest([], images, None) for images in pair}
    checksums = {
        arrays.training_checksum(2, shape, arrays.encode_images(images), b"")
        for shape, images in zip((one, other), pair, strict=True)
    }
    assert len(digests) == len(checksums) == (1 if one == other else 2)
