"""The vectors that a backbone makes of decoded pictures, a few at a time."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from schema.codecs import arrays
from schema.codecs.corruption import stored_in
from schema.errors import BackboneError, ImageError
from schema.network.recipes import Recipe
from schema.shapes import ImageArray
from worker.backbones.pixels import to_values
from worker.backbones.session import BackboneSession
from worker.records.features.feature_sets import StoredPictures

# Values of pictures that are in memory at once for a backbone, which needs about sixty times as much.
_CHUNK_VALUES = 400_000


def vectors_of(
    backbone: BackboneSession,
    recipe: Recipe,
    images: ImageArray,
    check_interrupt: Callable[[], None],
) -> NDArray[np.float32]:
    """Return the vectors (B, D) float32 of ``images`` (B, H, W, 3) uint8, a few at a time.

    ``check_interrupt`` is called before each few; what it raises ends the work.

    Raises:
        BackboneError: ``backbone`` fails, or gives other vectors than ``recipe`` says.
        ImageError: these are no coloured pictures.
    """
    if images.ndim != 4 or images.dtype != np.uint8:
        raise ImageError(f"a backbone takes coloured pictures, not {images.dtype} {images.shape}")
    chunk = max(1, _CHUNK_VALUES // (3 * recipe.size**2))
    vectors = np.empty((len(images), recipe.features), np.float32)
    for first in range(0, len(images), chunk):
        check_interrupt()
        part = np.asarray(images[first : first + chunk], np.uint8)
        found = backbone.run(to_values(part, recipe.size, recipe.scale))
        if found.shape != (len(part), recipe.features):
            raise BackboneError(f"the backbone gave {found.shape} for {len(part)} pictures: import it again")
        vectors[first : first + len(part)] = found
    if not np.isfinite(vectors).all() or np.abs(vectors).max(initial=0.0) > np.finfo(np.float16).max:
        raise BackboneError(
            "the backbone gave values beyond float16 or not finite for a picture: check the scale in "
            "`annealq backbones show`"
        )
    return vectors


def decode_pictures(pictures: StoredPictures) -> NDArray[np.uint8]:
    """Return ``pictures`` as (N, H, W, 3) uint8; raise Corrupt if they are damaged."""
    with stored_in(pictures.row, "classify or train on them again"):
        if pictures.deflated:
            labels = pictures.labels or b""
            images, _ = arrays.decode_training_set(
                pictures.images, labels, pictures.count, pictures.shape, pictures.sha256
            )
        else:
            images = arrays.decode_images(
                pictures.images, pictures.count, pictures.shape, pictures.sha256, pictures.labels
            )
    return np.asarray(images, np.uint8)
