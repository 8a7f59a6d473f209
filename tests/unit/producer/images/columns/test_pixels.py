"""Columns of pixels: lists of rows, tensors, bytes with a stated shape; the ambiguous is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from producer.images.columns.pixels import PixelColumn
from producer.images.preprocessing import Fit, Preprocessing, ReadAs
from producer.images.source import read_images
from schema.errors import ImageError
from tests.unit.producer.images.columns.test_parquet import opened, pictures

pa = pytest.importorskip("pyarrow", reason="needs annealq[parquet]")
pq = pytest.importorskip("pyarrow.parquet", reason="needs annealq[parquet]")

COLOUR = np.random.default_rng(3).integers(0, 256, (40, 6, 5, 3), np.uint8)
GREY = COLOUR[..., 0]
HUGE = [2**40, 2**40]


def nested(images: np.ndarray, kind: Any = None, *, fixed: bool = False) -> Any:
    """Return ``images`` as lists in lists."""
    value = kind or pa.uint8()
    for size in reversed(images.shape[1:]):
        value = pa.list_(value, size) if fixed else pa.list_(value)
    return pa.array(images.tolist(), value)


def flat(images: np.ndarray) -> Any:
    size = int(np.prod(images.shape[1:]))
    return pa.FixedSizeListArray.from_arrays(pa.array(images.reshape(-1)), size)


def raw(images: np.ndarray, *, fixed: bool = True) -> Any:
    values = [image.tobytes() for image in images]
    return pa.array(values, pa.binary(len(values[0])) if fixed else pa.binary())


def write(
    path: Path, column: Any, shape: object = None, features: object = None, name: str = "image", **more: Any
) -> Path:
    metadata = None if shape is None else {"shape": shape if isinstance(shape, str) else json.dumps(shape)}
    fields = [pa.field(name, column.type, metadata=metadata)]
    fields += [pa.field(each, values.type) for each, values in more.items()]
    schema = pa.schema(fields)
    if features is not None:
        schema = schema.with_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    table = pa.Table.from_arrays([column, *more.values()], schema=schema)
    pq.write_table(table, path, row_group_size=7)
    return path


@pytest.mark.parametrize(
    ("column", "shape", "images"),
    [
        (nested(COLOUR), None, COLOUR),
        (nested(GREY), None, GREY),
        (nested(GREY[..., None]), None, GREY),
        (nested(COLOUR, fixed=True), None, COLOUR),
        (nested(GREY, pa.int64()), None, GREY),
        (nested(GREY > 99, pa.bool_()), None, (GREY > 99) * np.uint8(255)),
        (nested(COLOUR), [6, 5, 3], COLOUR),
        (nested(COLOUR), [None, 5, 3], COLOUR),
        (flat(COLOUR), [6, 5, 3], COLOUR),
        (flat(GREY), [6, 5], GREY),
        (raw(COLOUR), [6, 5, 3], COLOUR),
        (raw(COLOUR, fixed=False), [6, 5, 3], COLOUR),
        (raw(GREY, fixed=False).cast(pa.large_binary()), [6, 5, 1], GREY),
        (pa.FixedShapeTensorArray.from_numpy_ndarray(COLOUR), None, COLOUR),
    ],
)
def test_pixels(tmp_path: Path, column: Any, shape: object, images: np.ndarray) -> None:
    path = write(tmp_path / "a.parquet", column, shape, label=pa.array(range(40)))
    read = read_images(path)
    np.testing.assert_array_equal(read.images, images)
    assert read.labels is not None
    assert read.labels.tolist() == list(range(40))
    pieces = opened(path)
    assert (pieces.shape, pieces.dtype, pieces.count) == (images.shape[1:], np.uint8, 40)
    for first in (0, 6, 7, 23, 39, 40):
        found = [piece.images for piece in pieces.read(first)]
        np.testing.assert_array_equal(np.concatenate([images[:0], *found]), images[first:])


@pytest.mark.parametrize("dtype", ["uint8", "int64"])
def test_arrays_that_hugging_face_has_noted(tmp_path: Path, dtype: str) -> None:
    features = {"x": {"_type": "Array3D", "shape": [6, 5, 3], "dtype": dtype}}
    column = nested(COLOUR, pa.uint8() if dtype == "uint8" else pa.int64())
    path = write(tmp_path / "a.parquet", column, None, features, name="x")
    np.testing.assert_array_equal(read_images(path).images, COLOUR)


def test_pixels_are_resized_and_inverted(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", nested(COLOUR))
    np.testing.assert_array_equal(
        read_images(path, preprocessing=Preprocessing(invert=True)).images, 255 - COLOUR
    )
    small = read_images(path, preprocessing=Preprocessing((3, 3), Fit.STRETCH))
    assert small.images.shape == (40, 3, 3, 3)
    assert small.notes == ("40 resized to 3 x 3 (stretch)",)


def test_arrays_are_read_from_their_own_part_of_a_larger_one() -> None:
    for column, is_bytes in (
        (nested(COLOUR), False),
        (nested(COLOUR, fixed=True), False),
        (raw(COLOUR), True),
    ):
        shape = (6, 5, 3) if is_bytes else None
        read = PixelColumn(shape, is_bytes, "uint8").read(column.slice(11, 5), 11, "a")
        np.testing.assert_array_equal(read, COLOUR[11:16])


def with_hole(images: np.ndarray, place: tuple[int, ...]) -> Any:
    values = images.tolist()
    inner = values
    for k in place[:-1]:
        inner = inner[k]
    inner[place[-1]] = None
    return pa.array(values, nested(images).type)


RAGGED = [*GREY[:2].tolist(), GREY[2, :, :4].tolist()]


@pytest.mark.parametrize(
    ("column", "shape", "message"),
    [
        (with_hole(GREY, (3,)), None, r"no image in row 3 \(counted from 0\)"),
        (with_hole(GREY, (3, 2)), None, "a missing list in row 3 "),
        (with_hole(GREY, (3, 2, 1)), None, "a missing value in row 3 "),
        (
            pa.array(RAGGED, pa.list_(pa.list_(pa.uint8()))),
            None,
            "5 values in row 0 and 4 in row 2: give all",
        ),
        (nested(GREY[:, :0]), None, "0 values: a picture is H x W"),
        (nested(GREY[:, :, :0]), None, "6 x 0 values: a picture is H x W"),
        (nested(COLOUR.transpose(0, 3, 1, 2)), None, "3 x 6 x 5 values, channels first: transpose them"),
        (nested(np.concatenate([COLOUR, COLOUR], 3)), None, "6 x 5 x 6 values: give 1 or 3 channels, last"),
        (nested(GREY[:, :1]), None, "1 x 5 values, which may be a vector: write it as one list"),
        (nested(GREY.astype(np.int64) + 1, pa.int16()), None, r"a pixel of 256 in row \d+ .*0\.\.255"),
        (nested(GREY.astype(np.int64) - 1, pa.int16()), None, r"a pixel of -1 in row \d+ .*0\.\.255"),
        (nested(GREY / 255, pa.float32()), None, "pixels of type float32, whose scale is not known"),
        (
            pa.FixedShapeTensorArray.from_numpy_ndarray(GREY / 255),
            None,
            "pixels of type float64, whose scale",
        ),
        (
            nested(COLOUR),
            [5, 6, 3],
            "row 0 has 6 x 5 x 3 values, .* stated to have 5 x 6 x 3: write it again",
        ),
        (flat(COLOUR), [5, 5, 3], "row 0 has 90 values, .* stated to have 5 x 5 x 3"),
        (flat(COLOUR), [None, 5, 3], "row 0 has 90 values, .* stated to have any x 5 x 3"),
        (raw(COLOUR), [6, 5, 3, 1], "column 'image' has 6 x 5 x 3 x 1 values: a picture is"),
        (raw(COLOUR), [3, 6, 5], "column 'image' has 3 x 6 x 5 values, channels first"),
        (raw(COLOUR), [-6, 5, 3], "stated shape that is not a list of sizes: write"),
        (raw(COLOUR), [True, 90], "stated shape that is not a list of sizes: write"),
        (raw(COLOUR), {"a": 1}, "stated shape that is not a list of sizes: write"),
        (raw(COLOUR), "[" * 100_000, "stated shape that is not a list of sizes: write"),
        (raw(COLOUR), "[6, 5, 3", "stated shape that is not a list of sizes: write"),
        (raw(COLOUR), HUGE, "1,099,511,627,776 x 1,099,511,627,776 values, more than 16,777,216 pixels"),
        (
            raw(COLOUR),
            None,
            "values without a shape in column 'image': state it in the metadata of the field",
        ),
        (raw(COLOUR, fixed=False), None, "row 0 is damaged or not a PNG"),
        (pa.array([b"ab", b"abc"]), [1, 2, 1], "1 x 2 x 1 values, which may be a vector"),
        (pa.array([b"abcd", b"abc"]), [2, 2], "4 bytes in row 0 and 3 in row 1: give all images one size"),
        (pa.array([b"abcd", None]), [2, 2], "no image in row 1 "),
        (pa.array([None, None], pa.binary(4)), [2, 2], "no image in row 0 "),
    ],
)
def test_pixels_that_cannot_be_used(tmp_path: Path, column: Any, shape: object, message: str) -> None:
    path = write(tmp_path / "a.parquet", column, shape)
    with pytest.raises(ImageError, match=message):
        read_images(path)


def test_rows_of_another_size_than_the_first(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(
        pa.table({"image": pa.array([*GREY[:7].tolist(), *GREY[:7, :4].tolist()], nested(GREY).type)}),
        path,
        row_group_size=7,
    )
    with pytest.raises(
        ImageError, match=r"different sizes \(the first is 6 x 5, row 7 is 4 x 5\).*--resize 28"
    ):
        read_images(path)


def test_axes_of_a_tensor_in_another_order(tmp_path: Path) -> None:
    kind = pa.fixed_shape_tensor(pa.uint8(), (3, 6, 5), permutation=[1, 2, 0])
    storage = flat(COLOUR.transpose(0, 3, 1, 2)).cast(kind.storage_type)
    path = write(tmp_path / "a.parquet", pa.ExtensionArray.from_storage(kind, storage))
    with pytest.raises(
        ImageError, match=r"column 'image' has its axes permuted \(\[1, 2, 0\]\): write them in"
    ):
        read_images(path)


def test_flattened_pictures_and_vectors_are_not_mistaken_for_each_other(tmp_path: Path) -> None:
    square = COLOUR[:, :5]
    path = write(tmp_path / "a.parquet", flat(square))
    with pytest.raises(
        ImageError, match=r"values without a shape in column 'image': state .*or .*--as vectors"
    ):
        read_images(path)
    with pytest.raises(ImageError, match="values without a shape in column 'image': state it"):
        read_images(path, preprocessing=Preprocessing(read_as=ReadAs.IMAGES))
    vectors = read_images(path, preprocessing=Preprocessing(read_as=ReadAs.VECTORS)).images
    np.testing.assert_array_equal(vectors, square.reshape(40, -1).astype(np.float32))
    assert read_images(write(tmp_path / "b.parquet", flat(COLOUR))).images.shape == (40, 90)
    with pytest.raises(ImageError, match="holds pictures in column 'image': leave --as vectors out"):
        read_images(
            write(tmp_path / "c.parquet", nested(square)), preprocessing=Preprocessing(read_as=ReadAs.VECTORS)
        )


def test_which_of_several_columns_is_read(tmp_path: Path) -> None:
    boxes = nested(np.ones((40, 2, 4), np.int64), pa.float32())
    shown = pa.array(pictures(GREY))
    read = read_images(write(tmp_path / "a.parquet", boxes, name="boxes", img=shown))
    np.testing.assert_array_equal(read.images, GREY)
    tensor = pa.FixedShapeTensorArray.from_numpy_ndarray(np.zeros((40, 1, 7), np.float32))
    np.testing.assert_array_equal(
        read_images(write(tmp_path / "b.parquet", tensor, name="attention", img=shown)).images, GREY
    )
    vectors = pa.array(np.zeros((40, 7)).tolist(), pa.list_(pa.float32()))
    read = read_images(write(tmp_path / "c.parquet", boxes, name="boxes", embedding=vectors))
    assert read.images.shape == (40, 7)
    with pytest.raises(
        ImageError, match=r"several columns that may hold images \('a', 'b'\): drop all but one"
    ):
        read_images(write(tmp_path / "d.parquet", nested(GREY), name="a", b=nested(COLOUR)))
