"""Any array of numbers -> (N, D) float32 vectors."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from producer.images.limits import MAX_BYTES, MAX_IMAGES, format_bytes
from producer.images.pieces.collector import collect
from producer.images.pieces.stored import ArrayValues, StoredArray, Values
from schema.errors import ImageError
from schema.quantities import count_text
from schema.shapes import MAX_VALUES, ImageArray, ImageShape

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from producer.images.pieces.allowance import Allowance
    from producer.images.preprocessing import Changes


def to_vectors(
    array: NDArray[np.generic] | StoredArray, name: str, changes: Changes, allowance: Allowance | None = None
) -> ImageArray:
    """Return the vectors in ``array`` as (N, D) float32; those of a large array are in a file.

    Args:
        array: (N, D) of numbers of any type; all but float32 are converted, which ``changes`` counts.
        name: name of the source in messages.
        changes: counts what was changed.
        allowance: is asked for the number of vectors, before they are decoded.

    Raises:
        ImageError: another shape or type, no vectors, too long ones, NaN, infinite, or beyond float32.
    """
    values: Values = array if isinstance(array, StoredArray) else ArrayValues(array)
    count, length = _sizes(values.shape, name)
    if allowance is not None:
        allowance.images(count)
    if values.dtype.kind not in "buif":
        raise ImageError(f"{name} has values of type {values.dtype}: save them as float32")
    shape = ImageShape.vector(length)
    if count * shape.nbytes > MAX_BYTES:
        raise ImageError(
            f"{name}: {count_text(count, 'vector')} of {length:,} values are "
            f"{format_bytes(count * shape.nbytes)} as float32, more than {format_bytes(MAX_BYTES)}: split it"
        )
    if values.dtype != np.float32:
        changes.counts[f"turned from {values.dtype.name} to float32"] += count
    return collect(count, shape, _finite(values, length, name))


def _sizes(shape: tuple[int, ...], name: str) -> tuple[int, int]:
    """Return (N, D); raise ImageError for other shapes, and too many or too long vectors."""
    if len(shape) != 2:
        raise ImageError(f"{name} has shape {shape}: vectors must be (N, D)")
    count, length = shape
    if count == 0 or length == 0:
        raise ImageError(f"{name} holds no vectors (shape {shape})")
    if count > MAX_IMAGES:
        raise ImageError(f"{name} holds {count_text(count, 'vector')}, more than {MAX_IMAGES:,}: split it")
    if length > MAX_VALUES:
        raise ImageError(
            f"{name} has vectors of {length:,} values, more than {MAX_VALUES:,}: choose fewer of them, or "
            "reshape pixels to (N, H, W)"
        )
    return count, length


def _finite(values: Values, length: int, name: str) -> Iterator[NDArray[np.float32]]:
    start = 0
    for piece in values.pieces(length):
        numbers = piece.view(np.uint8) != 0 if piece.dtype.kind == "b" else piece
        with np.errstate(over="ignore"):  # what overflows is refused below
            narrow = numbers.astype(np.float32)
        finite = np.isfinite(narrow)
        if not finite.all():
            place = int(np.argmin(finite))
            value = float(piece[place])
            what = "NaN" if np.isnan(value) else f"{value:g}, which is not a finite float32,"
            raise ImageError(
                f"{name} has {what} in vector {start + place // length:,} (counted from 0), value "
                f"{place % length:,}: repair or drop it"
            )
        yield narrow
        start += len(piece) // length
