"""An array is images, one picture or vectors; what may be two of them is refused with the choice."""

from __future__ import annotations

import numpy as np
import pytest

from producer.images.preprocessing import AS_IS, Changes, Preprocessing, ReadAs
from producer.images.values.kinds import to_images
from schema.errors import ImageError

U1, F4 = np.uint8, np.float32


def read(
    array: np.ndarray, read_as: ReadAs | None = None, labels: int | None = None
) -> tuple[np.ndarray, tuple[str, ...]]:
    changes = Changes()
    found = to_images(array, "x", Preprocessing(read_as=read_as), changes, labels=labels)
    return found, changes.notes()


@pytest.mark.parametrize(
    ("shape", "dtype", "labels", "result"),
    [
        ((5, 2, 4), U1, None, (5, 2, 4)),
        ((5, 2, 4), F4, None, (5, 2, 4)),
        ((5, 2, 4, 1), U1, None, (5, 2, 4)),
        ((5, 2, 4, 3), U1, None, (5, 2, 4, 3)),
        ((5, 2, 3), U1, 5, (5, 2, 3)),  # a label for each
        ((5, 2), U1, None, (1, 5, 2)),
        ((5, 7), F4, 5, (5, 7)),
        ((5, 64), F4, 5, (5, 64)),
    ],
)
def test_what_can_be_one_thing_only_is_read(
    shape: tuple[int, ...], dtype: type, labels: int | None, result: tuple[int, ...]
) -> None:
    found, notes = read(np.ones(shape, dtype), labels=labels)
    assert found.shape == result
    expected = f"{len(found)} scaled from float32, 0 to 1, to 0 to 255" if dtype is F4 else None
    if found.ndim == 2:
        expected = f"rows are read as vectors of {shape[1]} values"
    assert notes == (() if expected is None else (expected,))


@pytest.mark.parametrize(
    ("shape", "dtype", "labels", "message"),
    [
        ((64, 64, 3), U1, None, "may be one coloured picture or 64 images of 64 x 3 pixels: say .*--as"),
        ((5, 2, 3), F4, 1, "may be one coloured picture or 5 images"),
        ((10, 1280), F4, None, "may be 10 vectors of 1,280 values or one picture: say which by --as"),
        ((1, 1280), F4, 1, "may be 1 vector of 1,280 values or one picture"),
        ((10, 784), U1, None, r"one image or 10 flattened ones: save array.reshape\(-1, 28, 28\), or say"),
        ((10, 64), U1, 10, r"10 labels .* reshape\(-1, 8, 8\), or read them as vectors by --as vectors"),
    ],
)
def test_what_may_be_two_things_is_refused(
    shape: tuple[int, ...], dtype: type, labels: int | None, message: str
) -> None:
    with pytest.raises(ImageError, match=message):
        read(np.ones(shape, dtype), labels=labels)


@pytest.mark.parametrize(
    ("shape", "dtype", "read_as", "result"),
    [
        ((64, 64, 3), U1, ReadAs.PICTURE, (1, 64, 64, 3)),
        ((64, 64, 3), U1, ReadAs.IMAGES, (64, 64, 3)),
        ((10, 1280), F4, ReadAs.VECTORS, (10, 1280)),
        ((10, 1280), F4, ReadAs.PICTURE, (1, 10, 1280)),
        ((10, 784), U1, ReadAs.VECTORS, (10, 784)),
    ],
)
def test_the_user_chooses(
    shape: tuple[int, ...], dtype: type, read_as: ReadAs, result: tuple[int, ...]
) -> None:
    assert read(np.ones(shape, dtype), read_as)[0].shape == result


@pytest.mark.parametrize(
    ("shape", "read_as", "message"),
    [
        ((10, 784), ReadAs.IMAGES, r"as images it must be \(N, H, W\)"),
        ((10, 8, 8, 3), ReadAs.PICTURE, r"as picture it must be \(H, W\)"),
        ((10, 8, 8), ReadAs.VECTORS, r"as vectors it must be \(N, D\)"),
        ((64, 64, 4), ReadAs.PICTURE, "drop an alpha channel"),
    ],
)
def test_a_wrong_choice_is_refused(shape: tuple[int, ...], read_as: ReadAs, message: str) -> None:
    with pytest.raises(ImageError, match=message):
        read(np.ones(shape, U1), read_as)


def test_vectors_have_no_size_to_change() -> None:
    resized = Preprocessing((4, 4), read_as=ReadAs.VECTORS)
    with pytest.raises(ImageError, match="vectors, which have no pixels: leave --resize and --invert out"):
        to_images(np.ones((3, 2), F4), "x", resized, Changes())
    assert to_images(np.ones((3, 2), F4), "x", AS_IS, Changes(), labels=3).shape == (3, 2)


@pytest.mark.parametrize(
    ("array", "note"),
    [
        (np.array([[[True, False]]]), "1 turned from bool to 0 and 255"),
        (np.array([[[0.5, 1.0]], [[0.0, 0.1]]]), "2 scaled from float64, 0 to 1, to 0 to 255"),
        (np.array([[[0.5, 7.0]], [[0.0, 0.1]]], F4), "2 rounded from float32 to 0 to 255"),
    ],
)
def test_values_that_are_not_taken_as_they_are_are_said(array: np.ndarray, note: str) -> None:
    assert read(array)[1] == (note,)
    assert read(np.array([[[5, 255]]], np.int64))[1] == ()
