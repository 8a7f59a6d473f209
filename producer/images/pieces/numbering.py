"""Checks that labels are whole numbers in range."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from producer.images.limits import MAX_LABEL
from schema.errors import ImageError

if TYPE_CHECKING:
    from numpy.typing import NDArray


def whole_numbers(piece: NDArray[np.generic], first: int, name: str) -> NDArray[np.int64]:
    """Return ``piece`` of the labels of ``name``, whose first is that of image ``first``, as int64.

    Raises:
        ImageError: one is not a whole number in 0..``MAX_LABEL``.
    """
    numbers = piece.astype(np.float64)
    _refuse(numbers != np.rint(numbers), numbers, first, "not a whole number", name)
    _refuse((numbers < 0) | (numbers > MAX_LABEL), numbers, first, f"not in 0..{MAX_LABEL}", name)
    return numbers.astype(np.int64)


def _refuse(wrong: NDArray[np.bool_], numbers: NDArray[np.float64], first: int, why: str, name: str) -> None:
    """Raise ImageError for the first label that is ``wrong``, if any."""
    if wrong.any():
        row = int(np.argmax(wrong))
        label = f"label {numbers[row]:.15g} for image {first + row:,} (counted from 0)"
        raise ImageError(f"{name} has {label}, which is {why}: number classes from 0")
