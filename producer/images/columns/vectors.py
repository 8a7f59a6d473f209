"""A column of lists of numbers -> feature vectors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from schema.errors import ImageError
from schema.shapes import MAX_VALUES

if TYPE_CHECKING:
    from numpy.typing import NDArray


def read_vectors(column: Any, first: int, name: str) -> NDArray[np.float32]:
    """Return the lists of the Arrow array ``column`` as (n, D) float32.

    Args:
        column: of lists of numbers, checked by Arrow; its first is that of row ``first``.
        first: for messages.
        name: of the source, for messages.

    Raises:
        ImageError: a missing list or number, lists of different lengths or of more than ``MAX_VALUES``, NaN,
            or a value that is infinite as float32.
    """
    if column.null_count:
        row = first + column.is_null().index(True).as_py()
        raise ImageError(f"{name} has no vector in row {row:,} (counted from 0): add or drop it")
    lengths = _lengths(column)
    width = int(lengths[0])
    if (lengths != width).any():
        row = int(np.argmax(lengths != width))
        raise ImageError(
            f"{name} has {width:,} values in row {first:,} and {lengths[row]:,} in row {first + row:,}: give "
            "all vectors one length"
        )
    if not 1 <= width <= MAX_VALUES:
        raise ImageError(f"{name} has vectors of {width:,} values, not 1 to {MAX_VALUES:,}: choose fewer")
    values = column.flatten()
    if values.null_count:
        row = first + values.is_null().index(True).as_py() // width
        raise ImageError(f"{name} has a missing value in row {row:,} (counted from 0): add or drop it")
    with np.errstate(over="ignore"):
        vectors = values.to_numpy(zero_copy_only=False).astype(np.float32).reshape(-1, width)
    finite = np.isfinite(vectors).all(axis=1)
    if not finite.all():
        row = first + int(np.argmin(finite))
        raise ImageError(f"{name} has NaN, infinite or too large values in row {row:,}: repair or drop it")
    return np.ascontiguousarray(vectors)


def _lengths(column: Any) -> NDArray[np.int64]:
    import pyarrow as pa

    if pa.types.is_fixed_size_list(column.type):
        return np.full(len(column), column.type.list_size, np.int64)
    lengths: NDArray[np.int64] = column.value_lengths().to_numpy(zero_copy_only=False)
    return lengths
