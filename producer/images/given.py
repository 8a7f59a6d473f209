"""Reads images that are given as numbers, and not by the name of a file."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from producer.images.imageset import ImageSet
from producer.images.origin import DataOrigin
from producer.images.pieces.preparation import prepare
from producer.images.preprocessing import AS_IS, Changes, Preprocessing
from producer.images.values.kinds import to_images
from producer.images.values.labels import to_labels
from schema.errors import ImageError
from schema.shapes import ImageShape

_NAME = "images"


def read_given(images: Any, labels: Any = None, preprocessing: Preprocessing = AS_IS) -> ImageSet:
    """Return the validated set of ``images``, with their ``labels``, if any.

    Args:
        images: numbers (N, H, W), (N, H, W, 3) or (N, D): an array or nested lists.
        labels: (N,) whole numbers; None: they are not known.
        preprocessing: what is done to each image.

    Raises:
        ImageError: values or labels are invalid.
    """
    changes = Changes()
    given = None if labels is None else _array(labels, "labels")
    count = None if given is None or not given.shape else len(given)
    values = to_images(_array(images, _NAME), _NAME, preprocessing, changes, labels=count)
    if not ImageShape.of(values).is_vector:
        values = prepare(values, preprocessing, changes)
    numbers = None if given is None else to_labels(given, len(values), "labels")
    origin = DataOrigin(_NAME, _NAME, uploaded=True)
    return ImageSet(_NAME, values, numbers, None, None, changes.notes(), origin=origin)


def _array(values: Any, name: str) -> NDArray[np.generic]:
    try:
        return np.asarray(values)
    except (ValueError, OverflowError, TypeError):
        raise ImageError(
            f"{name}: rows or images of different sizes: give all rows one length, all images one size"
        ) from None
