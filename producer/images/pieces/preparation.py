"""Resizes and inverts many images, of which a piece is in memory at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from producer.images.limits import MAX_BYTES, format_bytes
from producer.images.pieces.collector import collect
from schema.codecs.pieces import pieces
from schema.errors import ImageError
from schema.shapes import ImageArray, ImageShape

if TYPE_CHECKING:
    from producer.images.preprocessing import Changes, Preprocessing


def prepare(images: ImageArray, preprocessing: Preprocessing, changes: Changes) -> ImageArray:
    """Return ``images``, pixels, as `Preprocessing.apply` makes them; ``changes`` counts them.

    Raises:
        ImageError: they would have too many bytes.
    """
    if not preprocessing.changes_pixels:
        return images
    shape = ImageShape.of(images)
    if preprocessing.size is not None:
        shape = shape.with_size(preprocessing.size)
    needed = len(images) * shape.nbytes
    if needed > MAX_BYTES:
        raise ImageError(
            f"{len(images):,} {shape.words} are {format_bytes(needed)}, "
            f"more than {format_bytes(MAX_BYTES)}: choose a smaller size"
        )
    prepared = (preprocessing.apply(image, changes) for piece in pieces(images) for image in piece)
    return collect(len(images), shape, prepared)
