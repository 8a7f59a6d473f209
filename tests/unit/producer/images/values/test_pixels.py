"""Arrays of every shape and type become grey uint8, or are refused; so are labels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from producer.images.pieces import stored
from producer.images.source import read_images
from producer.images.values import pixels
from producer.images.values.labels import to_labels
from producer.images.values.pixels import to_colour, to_grey, to_pixels
from schema.errors import ImageError

images_uint8 = arrays.arrays(np.uint8, arrays.array_shapes(min_dims=3, max_dims=3, max_side=6))


@given(
    images=images_uint8,
    dtype=st.sampled_from(["<i2", ">i4", "<u2", ">u8", "<f4", ">f8", "<f2", "longdouble"]),
)
def test_whole_values_survive_any_type(images: np.ndarray, dtype: str) -> None:
    images[0, 0, 0] = 255  # else floats of 0 and 1 are taken for a range of [0, 1]
    np.testing.assert_array_equal(to_pixels(images.astype(dtype), "x"), images)


@given(images=images_uint8, dtype=st.sampled_from(["<f4", ">f4", "<f8", ">f8"]))
def test_floats_up_to_one_are_scaled_back(images: np.ndarray, dtype: str) -> None:
    np.testing.assert_array_equal(to_pixels((images / 255).astype(dtype), "x"), images)


def test_floats_are_converted_in_pieces_as_in_one(monkeypatch: pytest.MonkeyPatch) -> None:
    images = np.random.default_rng(0).random((50, 4, 4))
    whole = to_pixels(images, "x")
    monkeypatch.setattr(stored, "CHUNK_BYTES", 7 * 13 * 8)
    np.testing.assert_array_equal(to_pixels(images, "x"), whole)
    images[33, 1, 1] = np.nan
    with pytest.raises(ImageError, match="pixels in image 33 "):
        to_pixels(images, "x")


def test_floats_above_one_are_rounded() -> None:
    assert to_pixels(np.array([[[0.4, 1.6, 254.9]]]), "x").tolist() == [[[0, 2, 255]]]


def test_bool_becomes_black_and_white() -> None:
    assert to_pixels(np.array([[[True, False]]]), "x").tolist() == [[[255, 0]]]


def test_a_stored_bool_of_any_byte_is_true() -> None:
    assert to_pixels(np.array([[[2, 0, 1]]], np.uint8).view(bool), "x").tolist() == [[[255, 0, 255]]]


@given(
    colour=arrays.arrays(
        np.uint8, st.tuples(st.integers(1, 3), st.integers(1, 5), st.integers(1, 5), st.just(3))
    )
)
def test_colour_becomes_grey_as_pillow_has_it(colour: np.ndarray) -> None:
    expected = [np.asarray(Image.fromarray(image).convert("L")) for image in colour]
    np.testing.assert_array_equal(to_grey(to_pixels(colour, "x")), expected)


@given(grey=arrays.arrays(np.uint8, st.tuples(st.integers(1, 3), st.integers(1, 5), st.integers(1, 5))))
def test_grey_repeated_as_colour_is_the_same_grey(grey: np.ndarray) -> None:
    colour = to_colour(grey)
    assert colour.shape == (*grey.shape, 3)
    np.testing.assert_array_equal(to_grey(colour), grey)


@pytest.mark.parametrize(
    ("shape", "result"),
    [((2, 3, 4), (2, 3, 4)), ((2, 3, 4, 1), (2, 3, 4)), ((2, 3, 4, 3), (2, 3, 4, 3))],
)
def test_shapes_that_are_taken(shape: tuple[int, ...], result: tuple[int, ...]) -> None:
    found = to_pixels(np.ones(shape, np.uint8), "x")
    assert (found.shape, found.flags.c_contiguous) == (result, True)


@pytest.mark.parametrize(
    ("shape", "result"), [((3, 4), (1, 3, 4)), ((3, 4, 1), (1, 3, 4)), ((3, 4, 3), (1, 3, 4, 3))]
)
def test_one_picture_has_no_axis_of_images(shape: tuple[int, ...], result: tuple[int, ...]) -> None:
    assert to_pixels(np.ones(shape, np.uint8), "x", is_picture=True).shape == result


@pytest.mark.parametrize(
    "shape", [(), (4,), (3, 4), (2, 3, 4, 4), (2, 1, 3, 4), (2, 3, 4, 2), (1, 2, 3, 4, 1)]
)
def test_shapes_that_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ImageError, match=r"x has shape .*: reshape"):
        to_pixels(np.ones(shape, np.uint8), "x")


@pytest.mark.parametrize("shape", [(0, 28, 28), (3, 0, 28), (3, 28, 0), (0, 4, 4, 3)])
def test_empty_sets(shape: tuple[int, ...]) -> None:
    with pytest.raises(ImageError, match="x holds no images"):
        to_pixels(np.ones(shape, np.uint8), "x")


@pytest.mark.parametrize(("value", "what"), [(np.nan, "NaN"), (np.inf, "infinite"), (-np.inf, "infinite")])
@pytest.mark.parametrize("dtype", ["<f2", "<f4", "<f8"])
def test_not_finite_pixels_name_the_first_image(value: float, what: str, dtype: str) -> None:
    images = np.zeros((5, 2, 2), dtype)
    images[[2, 4], 1, 0] = value
    with pytest.raises(ImageError, match=rf"x has {what} pixels in image 2 \(counted from 0\)"):
        to_pixels(images, "x")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.array([[[-1, 3]]]), "pixels from -1 to 3"),
        (np.array([[[0, 256]]], np.uint16), "pixels from 0 to 256"),
        (np.array([[[0, 2**64 - 1]]], np.uint64), "pixels from 0 to 18446744073709551615"),
        (np.array([[[-0.5, 0.5]]]), r"pixels from -0\.5 to 0\.5"),
        (np.array([[[0, 255.5]]]), r"pixels from 0 to 255\.5"),
        (np.array([[[1j]]]), "pixels of type complex128"),
        (np.array([[["a"]]]), "pixels of type <U1"),
    ],
)
def test_values_out_of_range_are_named(values: np.ndarray, message: str) -> None:
    with pytest.raises(ImageError, match=f"x has {message}"):
        to_pixels(values, "x")


def test_too_many_images_and_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pixels, "MAX_IMAGES", 3)
    monkeypatch.setattr(pixels, "MAX_PIXELS", 8)
    assert to_pixels(np.ones((3, 2, 4), np.uint8), "x").shape == (3, 2, 4)
    with pytest.raises(ImageError, match="4 images, more than 3"):
        to_pixels(np.ones((4, 2, 4), np.uint8), "x")
    with pytest.raises(ImageError, match="3 x 3 pixels, more than 8"):
        to_pixels(np.ones((1, 3, 3), np.uint8), "x")


# labels


@given(
    labels=st.lists(st.integers(0, 255), min_size=1),
    dtype=st.sampled_from(["u1", "<i2", ">i4", "<u8", "<f4", ">f8"]),
    column=st.booleans(),
)
def test_labels_of_any_type_become_int64(labels: list[int], dtype: str, column: bool) -> None:
    array = np.array(labels, dtype)
    found = to_labels(array[:, None] if column else array, len(labels), "x")
    assert (found.tolist(), found.dtype) == (labels, np.int64)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0, 1, 2], "x has 3 labels for 4 images"),
        ([], "x has 0 labels for 4 images"),
        ([0, 1, -1, -2], r"x has label -1 for image 2 \(counted from 0\), which is not in 0\.\.65535"),
        ([0, 70_000, 1, 2], "x has label 70000 for image 1 "),
        ([0, 1, 2, np.inf], "x has label inf for image 3 "),
        ([0, 1.5, 2, 3], r"x has label 1\.5 for image 1 \(counted from 0\), which is not a whole number"),
        ([0, 1, np.nan, 3], "x has label nan for image 2 .* is not a whole number"),
        (["a", "b", "c", "d"], "x has labels of type <U1"),
        ([True, False, True, True], "x has labels of type bool"),
        (np.eye(4), "x has labels of shape .* one-hot rows"),
        (np.zeros((4, 1, 1)), "x has labels of shape"),
        (np.array(3), "x has labels of shape"),
    ],
)
def test_labels_that_are_refused(labels: object, message: str) -> None:
    with pytest.raises(ImageError, match=message):
        to_labels(np.asarray(labels), 4, "x")


def test_another_number_of_labels_names_the_file_and_both_numbers(tmp_path: Path) -> None:
    np.save(tmp_path / "i.npy", np.zeros((4, 2, 2)))
    np.save(tmp_path / "l.npy", np.zeros(3))
    with pytest.raises(ImageError, match=r"l\.npy has 3 labels for 4 images"):
        read_images(tmp_path / "i.npy", tmp_path / "l.npy")


def test_rows_of_pixels_are_not_taken_for_one_image(tmp_path: Path) -> None:
    np.savez(tmp_path / "rows.npz", x=np.zeros((10, 64), np.uint8), y=np.zeros(10))
    with pytest.raises(ImageError, match=r"10 labels for an array of shape \(10, 64\).*reshape"):
        read_images(tmp_path / "rows.npz")
