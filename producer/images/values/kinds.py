"""Finds out what an array of numbers is: images, one picture or vectors; refuses what may be two of them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from producer.images.preprocessing import Preprocessing, ReadAs
from producer.images.values.pixels import to_pixels
from producer.images.values.vectors import to_vectors
from schema.errors import ImageError
from schema.quantities import count_text
from schema.shapes import COLOURS

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from producer.images.pieces.allowance import Allowance
    from producer.images.pieces.stored import StoredArray
    from producer.images.preprocessing import Changes
    from schema.shapes import ImageArray

_SMALLEST_SIDE = 4  # rows of 4 x 4 values are more likely values than flattened pixels
_CHOICE = "say which by --as (over HTTP: as)"


def to_images(
    array: NDArray[np.generic] | StoredArray,
    name: str,
    preprocessing: Preprocessing,
    changes: Changes,
    allowance: Allowance | None = None,
    *,
    labels: int | None = None,
) -> ImageArray:
    """Return the images in ``array`` as `to_pixels` or `to_vectors` does.

    Args:
        array: pixels, (N, H, W), (N, H, W, 1) or (N, H, W, 3); one picture, (H, W) or (H, W, 3); vectors,
            (N, D).
        name: name of the source in messages.
        preprocessing: says what an array is that may be two of them.
        changes: counts what was changed.
        allowance: is asked for the number of images, before they are decoded.
        labels: their number, if there are any.

    Raises:
        ImageError: it cannot be used, or may be two of them.
    """
    kind = preprocessing.read_as
    if kind is None:
        kind = _guess(array.shape, array.dtype.kind, name, labels)
        if kind is ReadAs.VECTORS:
            changes.remarks.append(f"rows are read as vectors of {count_text(array.shape[1], 'value')}")
    elif len(array.shape) not in _AXES[kind]:
        raise ImageError(f"{name} has shape {array.shape}: as {kind} it must be {_SHAPES[kind]}")
    if kind is not ReadAs.VECTORS:
        return to_pixels(array, name, allowance, changes, is_picture=kind is ReadAs.PICTURE)
    if preprocessing.changes_pixels:
        raise ImageError(f"{name} holds vectors, which have no pixels: leave --resize and --invert out")
    return to_vectors(array, name, changes, allowance)


_SHAPES = {
    ReadAs.IMAGES: "(N, H, W), (N, H, W, 1) or (N, H, W, 3)",
    ReadAs.PICTURE: "(H, W), (H, W, 1) or (H, W, 3)",
    ReadAs.VECTORS: "(N, D)",
}
_AXES = {ReadAs.IMAGES: (3, 4), ReadAs.PICTURE: (2, 3), ReadAs.VECTORS: (2,)}


def _guess(shape: tuple[int, ...], kind: str, name: str, labels: int | None) -> ReadAs:
    """Return what an array of ``shape`` is; ``kind`` is that of its dtype. Raise ImageError if in doubt."""
    if len(shape) == 2:
        return _guess_rows(shape[0], shape[1], kind, name, labels)
    if len(shape) == 3 and shape[2] == COLOURS and labels != shape[0]:
        raise ImageError(
            f"{name} has shape {shape}, which may be one coloured picture or {count_text(shape[0], 'image')} "
            f"of {shape[1]} x {shape[2]} pixels: {_CHOICE}, picture or images"
        )
    return ReadAs.IMAGES


def _guess_rows(rows: int, columns: int, kind: str, name: str, labels: int | None) -> ReadAs:
    is_labelled = labels == rows != 1
    side = math.isqrt(columns)
    is_square = side * side == columns
    reshape = f"reshape(-1, {side}, {side})" if is_square else "reshape(-1, H, W)"
    if kind == "f":
        if is_labelled:
            return ReadAs.VECTORS
        raise ImageError(
            f"{name} has shape ({rows}, {columns}), which may be {count_text(rows, 'vector')} of "
            f"{columns:,} values or one picture: {_CHOICE}, vectors or picture"
        )
    if is_labelled:
        raise ImageError(
            f"{name} has {count_text(rows, 'label')} for an array of shape ({rows}, {columns}), "
            f"which is one image: reshape rows of pixels to (N, H, W) by {reshape}, or read them as vectors "
            "by --as vectors"
        )
    if is_square and side > _SMALLEST_SIDE and rows not in (1, columns):
        raise ImageError(
            f"{name} has shape ({rows}, {columns}), which may be one image or {rows:,} flattened ones: "
            f"save array.{reshape}, or {_CHOICE}, picture or vectors"
        )
    return ReadAs.PICTURE
