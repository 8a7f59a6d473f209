"""Resizes and inverts many images, of which a piece is in memory at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from producer.images.limits import MAX_BYTES, format_bytes
from producer.images.pieces.collector import collect
from schema.codecs.pieces import pieces
from schema.errors import ImageError
from schema.quantities import count_text

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from producer.images.preprocessing import Changes, Preprocessing


def prepare(images: NDArray[np.uint8], preprocessing: Preprocessing, changes: Changes) -> NDArray[np.uint8]:
    """Return ``images``, (N, H, W), as `Preprocessing.apply` makes them; ``changes`` counts them.

    Raises:
        ImageError: they would have too many bytes.
    """
    if not preprocessing.changes_pixels:
        return images
    height, width = images.shape[1:] if preprocessing.size is None else preprocessing.size
    needed = len(images) * height * width
    if needed > MAX_BYTES:
        raise ImageError(
            f"{count_text(len(images), 'image')} of {height} x {width} pixels are {format_bytes(needed)}, "
            f"more than {format_bytes(MAX_BYTES)}: choose a smaller size"
        )
    prepared = (preprocessing.apply(image, changes) for piece in pieces(images) for image in piece)
    return collect(len(images), (height, width), prepared)
