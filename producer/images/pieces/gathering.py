"""All rows of a source that is read in pieces, in memory or in a temporary file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from producer.images.limits import MAX_BYTES, MAX_IMAGES, format_bytes
from producer.images.pieces.collector import collect
from schema.errors import ImageError
from schema.quantities import count_text
from schema.shapes import ImageArray, ImageShape

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from producer.images.pieces.allowance import Allowance
    from producer.images.pieces.piece import Pieces


@dataclass(frozen=True, eq=False)
class Gathered:
    """All rows of a source: what the pieces have, one after the other."""

    images: ImageArray
    labels: NDArray[np.int64] | None
    names: tuple[str, ...] | None


def gather(pieces: Pieces, allowance: Allowance) -> Gathered:
    """Return all rows of ``pieces`` within ``allowance``; those of a large source are in a file.

    Raises:
        ImageError: no row can be read, too many rows or bytes, or as `Pieces.read`.
    """
    shape = ImageShape.of(np.empty((0, *pieces.shape), pieces.dtype))
    needed = pieces.count * shape.nbytes
    if pieces.count > MAX_IMAGES or needed > MAX_BYTES:
        raise ImageError(
            f"{pieces.name} has {count_text(pieces.count, 'row')}, {format_bytes(needed)}, more than "
            f"{MAX_IMAGES:,} or {format_bytes(MAX_BYTES)}: split it, or scale pictures down with --resize"
        )
    allowance.values(pieces.name, needed)
    labels: list[NDArray[np.int64]] = []
    names: list[str] = []

    def values() -> Iterator[ImageArray]:
        for piece in pieces.read():
            if piece.labels is not None:
                labels.append(piece.labels)
            names.extend(piece.names or ())
            yield piece.images

    images = collect(pieces.count, shape, values())
    if len(images) == 0:
        raise ImageError(f"{pieces.name} has no pictures that can be read: remove or repair them")
    return Gathered(images, np.concatenate(labels) if labels else None, tuple(names) or None)
