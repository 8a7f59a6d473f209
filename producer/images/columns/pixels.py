"""A column of pixels -> images: lists of rows of pixels, or numbers or bytes with a stated shape.

The shape of flat values is stated by the type, as `pyarrow.fixed_shape_tensor` does, or by the metadata of
the field: ``shape`` with ``[32, 32, 3]``.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from producer.images.columns.lists import is_list, read_lists, storage, storage_type
from producer.images.limits import MAX_PIXELS
from producer.images.stream import printable
from schema.errors import ImageError
from schema.quantities import count_text
from schema.shapes import COLOURS

if TYPE_CHECKING:
    from numpy.typing import NDArray

SHAPE = b"shape"
"""Key of the metadata of a field whose value is the shape of each row, as JSON."""

TENSORS = ("Array2D", "Array3D")
"""Features of Hugging Face's `datasets` that note the shape of each row."""

_LONGEST_SHAPE = 100  # bytes of JSON
_STATE = 'state it in the metadata of the field, as in pyarrow.field(..., metadata={"shape": "[32, 32, 3]"})'


@dataclass(frozen=True)
class PixelColumn:
    """How a column of pixels is read.

    Attributes:
        shape: (H, W), (H, W, 1) or (H, W, 3) of each row, as it is stated, an axis of any size as None; None:
            that of its lists.
        is_bytes: each row is a value of bytes, and not a list.
        dtype: of the numbers, in the words of Arrow.
        problem: why it cannot be read, if it cannot.
    """

    shape: tuple[int | None, ...] | None
    is_bytes: bool
    dtype: str
    problem: str | None = None

    @property
    def is_stated(self) -> bool:
        """Return whether the shape of whole numbers is stated, so that they are pixels and nothing else."""
        return (self.shape is not None or self.problem is not None) and "float" not in self.dtype

    @property
    def has_pixel_type(self) -> bool:
        """Return whether the numbers are of a type that pixels have, and hardly anything else."""
        return self.dtype in ("uint8", "bool")

    def read(self, column: Any, first: int, name: str) -> NDArray[np.uint8]:
        """Return the images in the Arrow array ``column``, (n, H, W) or (n, H, W, 3) uint8.

        Args:
            column: checked by Arrow; at least one row.
            first: the row of its first value, for messages.
            name: of the table, for messages.

        Raises:
            ImageError: something is missing, rows have different shapes, another one than is stated, or one
                that is not of a picture; a value outside of 0..255.
        """
        read = (
            _bytes(storage(column), first, name)
            if self.is_bytes
            else read_lists(column, first, name, "image")
        )
        flat, found = read
        shape = self._shape(found, f"{name} row {first:,}")
        numbers = flat if self.is_bytes else _numbers(flat, math.prod(shape), first, name)
        return numbers.reshape(-1, *(shape[:2] if shape[2:] == (1,) else shape))

    def _shape(self, found: tuple[int, ...], where: str) -> tuple[int, ...]:
        """Return the shape of each row, of which ``found`` is that of its lists or its number of bytes."""
        if self.shape is None:
            return checked_shape(found, where)
        stated = tuple(size for size in self.shape if size is not None)
        if len(found) == 1 and len(stated) == len(self.shape) and found[0] == math.prod(stated):
            return checked_shape(stated, where)
        is_same = len(found) == len(self.shape)
        if not is_same or any(size not in (None, own) for size, own in zip(self.shape, found, strict=True)):
            raise ImageError(
                f"{where} has {_words(found)} values, and its column is stated to have {_words(self.shape)}: "
                "write it again, with its own shape"
            )
        return checked_shape(found, where)


def pixel_column(field: Any, noted: object) -> PixelColumn | None:
    """Return how the Arrow ``field`` is read as pixels; None if it holds something else.

    Args:
        field: with its type and metadata.
        noted: what `datasets` has noted of it.
    """
    import pyarrow as pa

    kind = storage_type(field.type)
    depth = 0
    while is_list(kind):
        kind, depth = kind.value_type, depth + 1
    is_bytes = depth == 0 and (_is_bytes(kind) or is_fixed_bytes(kind))
    is_number = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)
    if not is_bytes and not (depth and is_number):
        return None
    dtype = "uint8" if is_bytes else str(kind)
    try:
        shape = _stated(field, noted)
    except ImageError as error:
        return PixelColumn(None, is_bytes, dtype, str(error))
    if shape is None and (is_bytes or depth not in (2, 3)):
        return None
    return PixelColumn(shape, is_bytes, dtype)


def state_shape(name: str, column: str) -> ImageError:
    """Return the error for a ``column`` of values that may be pixels, whose shape is not stated."""
    return ImageError(f"{name} has values without a shape in column {printable(column)!r}: {_STATE}")


def is_flattened(width: int) -> bool:
    """Return whether that many bytes may be a square picture of more than 4 x 4 pixels, grey or coloured."""
    return any(
        side > 4 and side * side * channels == width
        for channels in (1, COLOURS)
        for side in [math.isqrt(width // channels)]
    )


def _is_bytes(kind: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def is_fixed_bytes(kind: Any) -> bool:
    """Return whether values of the Arrow type ``kind`` are all of the same number of bytes."""
    import pyarrow as pa

    return bool(pa.types.is_fixed_size_binary(kind))


def _stated(field: Any, noted: object) -> tuple[int | None, ...] | None:
    """Return the shape of each row that ``field`` states; None if it states none, or that of a vector.

    Raises:
        ImageError: it is damaged, not of a picture, or has its axes in another order.
    """
    import pyarrow as pa

    where = f"column {printable(field.name)!r}"
    stated: object
    if isinstance(field.type, pa.FixedShapeTensorType):
        axes = field.type.permutation
        if axes is not None and list(axes) != sorted(axes):
            raise ImageError(f"{where} has its axes permuted ({axes}): write them in the order H, W, C")
        stated = list(field.type.shape)
    elif isinstance(noted, dict) and noted.get("_type") in TENSORS:
        stated = noted.get("shape")
    elif (raw := (field.metadata or {}).get(SHAPE)) is not None:
        stated = _parsed(raw)
    else:
        return None
    return None if isinstance(stated, list) and len(stated) == 1 else _checked(stated, where)


def checked_shape(shape: tuple[int, ...], where: str) -> tuple[int, ...]:
    """Return ``shape``, of the image at ``where``; raise ImageError if it is not (H, W), or with channels."""
    words = _words(shape)
    if len(shape) not in (2, 3) or 0 in shape:
        raise ImageError(f"{where} has {words} values: a picture is H x W, H x W x 1 or H x W x 3")
    channels = shape[2] if len(shape) == 3 else 1
    if channels not in (1, COLOURS):
        if shape[0] in (1, COLOURS):
            raise ImageError(f"{where} has {words} values, channels first: transpose them to H x W x C")
        raise ImageError(f"{where} has {words} values: give 1 or 3 channels, last; drop an alpha channel")
    if 1 in shape[:2]:
        raise ImageError(
            f"{where} has {words} values, which may be a vector: write it as one list, or as a picture of "
            "several rows and columns"
        )
    if shape[0] * shape[1] > MAX_PIXELS:
        raise ImageError(f"{where} has {words} values, more than {MAX_PIXELS:,} pixels: scale it down")
    return shape


def _parsed(raw: bytes) -> object:
    try:
        return json.loads(raw) if len(raw) <= _LONGEST_SHAPE else None
    except (ValueError, RecursionError):
        return None


def _checked(stated: object, where: str) -> tuple[int | None, ...]:
    """Return the ``stated`` shape, of which an axis may be None: any size."""
    is_shape = isinstance(stated, list) and all(
        each is None or (isinstance(each, int) and not isinstance(each, bool) and each >= 0)
        for each in stated
    )
    if not isinstance(stated, list) or not is_shape:
        raise ImageError(f"{where} has a stated shape that is not a list of sizes: write [H, W] or [H, W, 3]")
    sizes = [2 if each is None else each for each in stated]
    checked_shape(tuple(sizes), where)
    return tuple(stated)


def _bytes(column: Any, first: int, name: str) -> tuple[NDArray[np.uint8], tuple[int, ...]]:
    """Return the bytes of all rows, one after the other, and the number of those of each."""
    import pyarrow.compute as pc

    if column.null_count:
        row = first + column.is_null().index(True).as_py()
        raise ImageError(f"{name} has no image in row {row:,} (counted from 0): add or drop it")
    if not is_fixed_bytes(column.type):
        lengths = pc.binary_length(column).to_numpy(zero_copy_only=False)
        if (lengths != lengths[0]).any():
            wrong = int(np.argmax(lengths != lengths[0]))
            raise ImageError(
                f"{name} has {count_text(int(lengths[0]), 'byte')} in row {first:,} and "
                f"{lengths[wrong]:,} in row {first + wrong:,}: give all images one size"
            )
    data = np.frombuffer(b"".join(column.to_pylist()), np.uint8)
    return data, (len(data) // len(column),)


def _numbers(values: Any, per_row: int, first: int, name: str) -> NDArray[np.uint8]:
    """Return ``values``, an Arrow array of integers or booleans, as uint8; true is 255."""
    numbers: NDArray[Any] = values.to_numpy(zero_copy_only=False)
    if numbers.dtype.kind == "f":
        raise ImageError(
            f"{name} has pixels of type {numbers.dtype}, whose scale is not known: write them as uint8, from "
            "0 to 255, or vectors as one list a row"
        )
    if numbers.dtype == np.bool_:
        return numbers.astype(np.uint8) * np.uint8(255)
    wrong = (numbers < 0) | (numbers > 255) if numbers.dtype != np.uint8 else np.zeros(0, np.bool_)
    if wrong.any():
        place = int(np.argmax(wrong))
        raise ImageError(
            f"{name} has a pixel of {numbers[place]} in row {first + place // per_row:,} (counted from 0): "
            "pixels must lie in 0..255, scale them"
        )
    pixels: NDArray[np.uint8] = np.ascontiguousarray(numbers.astype(np.uint8, copy=False))
    return pixels


def _words(shape: tuple[int | None, ...]) -> str:
    return " x ".join("any" if size is None else f"{size:,}" for size in shape)
