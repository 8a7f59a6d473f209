"""Any array of labels -> (N,) int64."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from producer.images.pieces.numbering import whole_numbers
from producer.images.pieces.stored import ArrayValues, StoredArray
from schema.errors import ImageError
from schema.quantities import count_text

if TYPE_CHECKING:
    from numpy.typing import NDArray


def to_labels(array: NDArray[np.generic] | StoredArray, images: int, name: str) -> NDArray[np.int64]:
    """Return the labels in ``array`` as (N,) int64, each in 0..``MAX_LABEL``.

    Args:
        array: (N,) or (N, 1), in memory or in a file, of integers or of floats that are whole numbers.
        images: N.
        name: name of the source in messages.

    Raises:
        ImageError: another shape, number of labels or type; negative or too large labels.
    """
    shape = array.shape[:1] if len(array.shape) == 2 and array.shape[1] == 1 else array.shape
    if len(shape) != 1:
        hint = ", for one-hot rows labels.argmax(axis=1)" if len(shape) == 2 else ""
        raise ImageError(f"{name} has labels of shape {array.shape}: save one whole number per image{hint}")
    if shape[0] != images:
        raise ImageError(
            f"{name} has {count_text(shape[0], 'label')} for {count_text(images, 'image')}: give "
            "one label per image"
        )
    if array.dtype.kind not in "uif":
        raise ImageError(f"{name} has labels of type {array.dtype}: save them as whole numbers from 0")
    labels = np.empty(images, np.int64)
    first = 0
    for piece in (array if isinstance(array, StoredArray) else ArrayValues(array)).pieces():
        labels[first : first + len(piece)] = whole_numbers(piece, first, name)
        first += len(piece)
    return labels
