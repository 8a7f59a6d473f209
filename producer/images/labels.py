"""Any array of labels -> (N,) int64."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from producer.images.limits import MAX_LABEL
from schema.errors import ImageError
from schema.quantities import count_text

if TYPE_CHECKING:
    from numpy.typing import NDArray


def to_labels(array: NDArray[np.generic], images: int, name: str) -> NDArray[np.int64]:
    """Return the labels in ``array`` as (N,) int64, each in 0..``MAX_LABEL``.

    Args:
        array: (N,) or (N, 1), of integers or of floats that are whole numbers.
        images: N.
        name: name of the source in messages.

    Raises:
        ImageError: another shape, number of labels or type; negative or too large labels.
    """
    flat = array[:, 0] if array.ndim == 2 and array.shape[1] == 1 else array
    if flat.ndim != 1:
        hint = ", for one-hot rows labels.argmax(axis=1)" if flat.ndim == 2 else ""
        raise ImageError(f"{name} has labels of shape {array.shape}: save one whole number per image{hint}")
    if len(flat) != images:
        raise ImageError(
            f"{name} has {count_text(len(flat), 'label')} for {count_text(images, 'image')}: give "
            "one label per image"
        )
    if flat.dtype.kind not in "uif":
        raise ImageError(f"{name} has labels of type {flat.dtype}: save them as whole numbers from 0")
    numbers = flat.astype(np.float64)
    _refuse(numbers != np.rint(numbers), numbers, "not a whole number", name)
    _refuse((numbers < 0) | (numbers > MAX_LABEL), numbers, f"not in 0..{MAX_LABEL}", name)
    return numbers.astype(np.int64)


def _refuse(wrong: NDArray[np.bool_], numbers: NDArray[np.float64], why: str, name: str) -> None:
    """Raise ImageError for the first label that is ``wrong``, if any."""
    if wrong.any():
        row = int(np.argmax(wrong))
        label = f"label {numbers[row]:.15g} for image {row:,} (counted from 0)"
        raise ImageError(f"{name} has {label}, which is {why}: number classes from 0")
