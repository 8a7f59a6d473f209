"""Whether a network can take a set of images, and how labels are renumbered for it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from producer.images.imageset import ImageSet
from producer.networks.chosen import ChosenNetwork
from schema.errors import ImageError
from schema.network.architecture import Architecture


def fit(images: ImageSet, network: ChosenNetwork) -> ImageSet:
    """Check that a network can take these images, and number their labels as it does.

    Raises:
        ImageError: says what does not fit, and what would.
    """
    height, width = images.images.shape[1:]
    if (height, width) != (network.height, network.width):
        raise ImageError(
            f"{images.name}: images are {height} x {width} pixels, network {network.name!r} takes "
            f"{network.height} x {network.width}"
        )
    brightest = int(images.images.max())
    if brightest > network.image_max:
        raise ImageError(
            f"{images.name}: pixels go up to {brightest}, "
            f"network {network.name!r} takes 0 to {network.image_max}"
        )
    if images.labels is None:
        return images
    labels = _renumber(images, network)
    if labels.max() >= len(network.classes):
        raise ImageError(
            f"{images.name}: image {int(labels.argmax())} has label {labels.max()}, "
            f"network {network.name!r} has {len(network.classes)} classes, 0 to {len(network.classes) - 1}"
        )
    return replace(images, labels=labels)


def class_names(architecture: Architecture, images: ImageSet) -> list[str]:
    """Names of an architecture's classes: the data set's own, or their numbers."""
    if images.classes is None or len(images.classes) != architecture.classes:
        return [str(k) for k in range(architecture.classes)]
    return list(images.classes)


def _renumber(images: ImageSet, network: ChosenNetwork) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Labels by the network's numbering, where both sides name their classes."""
    if images.labels is None or images.classes is None:
        return images.labels  # type: ignore[return-value]
    number_of = {name: k for k, name in enumerate(network.classes)}
    used = np.unique(images.labels)
    unknown = [images.classes[k] for k in used if images.classes[k] not in number_of]
    if unknown:
        raise ImageError(
            f"{images.name}: class {unknown[0]!r} is not known to network {network.name!r}, "
            f"which knows {', '.join(network.classes)}"
        )
    numbers = np.array([number_of.get(name, -1) for name in images.classes], dtype=np.int64)
    return numbers[images.labels]
