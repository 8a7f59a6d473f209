"""A column of lists of numbers -> feature vectors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from producer.images.columns.lists import read_lists
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
    values, (width,) = read_lists(column, first, name, "vector")
    if not 1 <= width <= MAX_VALUES:
        raise ImageError(f"{name} has vectors of {width:,} values, not 1 to {MAX_VALUES:,}: choose fewer")
    with np.errstate(over="ignore"):
        vectors = values.to_numpy(zero_copy_only=False).astype(np.float32).reshape(-1, width)
    finite = np.isfinite(vectors).all(axis=1)
    if not finite.all():
        row = first + int(np.argmin(finite))
        raise ImageError(f"{name} has NaN, infinite or too large values in row {row:,}: repair or drop it")
    return np.ascontiguousarray(vectors)
