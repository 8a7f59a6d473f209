"""Checks whether a network can take a set of images, and renumbers their labels for it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from producer.images.imageset import MOST_OFFERED, ImageSet
from producer.images.pieces.preparation import prepare
from producer.images.preprocessing import AS_IS, COLOURED, REPEATED, Changes
from producer.images.source import for_network
from producer.images.values.pixels import to_colour, to_grey
from producer.networks.chosen import ChosenNetwork
from schema.errors import ImageError
from schema.network.architecture import Architecture
from schema.network.layers import ImageInput
from schema.quantities import count_text

_LAYERS = "write layers for these images: `annealq networks new --data DATA --out mine.toml`"


def match_images(images: ImageSet, network: ChosenNetwork, first: int = 0) -> ImageSet:
    """Check that ``network`` can take ``images``; return them with pixels and labels as the network has them.

    Their notes say what was changed. The first of them is image ``first`` of their source.

    Raises:
        ImageError: names what does not match, and what would.
    """
    images = replace(_fit(images, network), notes=notes_for(images, network))
    if isinstance(network.takes, ImageInput):
        images = images.scaled(network.takes.image_max)
        brightest = images.brightest()
        if brightest > network.takes.image_max:
            raise ImageError(
                f"{images.name}: pixels go up to {brightest}, "
                f"network {network.name!r} takes 0 to {network.takes.image_max}: add --scale-pixels (over "
                "HTTP: scale_pixels), or name another network"
            )
    if images.labels is None:
        return images
    labels = _renumber(images, images.labels, network)
    if labels.max() >= len(network.classes):
        raise ImageError(
            f"{images.name}: image {first + int(labels.argmax()):,} has label {labels.max()}, "
            f"network {network.name!r} has {count_text(len(network.classes), 'class')}, 0 to "
            f"{len(network.classes) - 1}: "
            "number classes from 0, take some with --classes, or set `classes` in the architecture"
        )
    return replace(images, labels=labels)


def _fit(images: ImageSet, network: ChosenNetwork) -> ImageSet:
    """Return ``images`` in the shape that ``network`` takes; raise ImageError."""
    have, takes = images.shape, network.shape
    if have == takes:
        return images
    if have.is_vector or takes.is_vector:
        raise ImageError(
            f"{images.name}: these are {have.words}, network {network.name!r} takes {takes.words}: {_LAYERS}"
        )
    if have.size != takes.size and isinstance(network.takes, ImageInput) and network.takes.resize is not None:
        resized = for_network(AS_IS, network.takes)
        images = replace(images, images=prepare(images.images, resized, Changes()))
    elif have.size != takes.size:
        raise ImageError(
            f"{images.name}: images are {have.size[0]} x {have.size[1]} pixels, network {network.name!r} "
            f"takes {takes.size[0]} x {takes.size[1]}: add --resize {takes.option}, or {_LAYERS}"
        )
    if have.is_colour == takes.is_colour:
        return images
    return replace(images, images=(to_grey if have.is_colour else to_colour)(images.images))


def notes_for(images: ImageSet, network: ChosenNetwork) -> tuple[str, ...]:
    """Return the notes of ``images``, and what `match_images` changes of them for ``network``."""
    changed = changes(images, network)
    return images.notes if changed is None else (*images.notes, changed)


def changes(images: ImageSet, network: ChosenNetwork) -> str | None:
    """Return what `match_images` changes of all ``images`` for ``network``, in words; None: nothing."""
    have, takes = images.shape, network.shape
    if have.is_vector or not isinstance(network.takes, ImageInput):
        return None
    what = [] if have.size == takes.size else [f"resized to {takes.grey.short} ({network.takes.resize})"]
    if have.is_colour != takes.is_colour:
        what.append(COLOURED if have.is_colour else REPEATED)
    if images.is_scaled_to(network.takes.image_max):
        what.append(f"scaled from 0 to 255 to 0 to {network.takes.image_max}")
    return f"all {' and '.join(what)}, as network {network.name!r} takes them" if what else None


def class_names(architecture: Architecture, images: ImageSet) -> list[str]:
    """Return the names of the classes of ``architecture``: those of ``images``, or else numbers.

    Raises:
        ImageError: the images have named classes, and not as many as the architecture.
    """
    numbers = [str(k) for k in range(architecture.classes)]
    if images.classes is None or set(images.classes) < set(numbers):  # folders 0 to 8 of ten digits, say
        return numbers
    if len(images.classes) != architecture.classes:
        found = ", ".join(images.classes[:MOST_OFFERED]) + (", ..." * (len(images.classes) > MOST_OFFERED))
        raise ImageError(
            f"{images.name} has {count_text(len(images.classes), 'class')} ({found}), architecture "
            f"{architecture.name!r} "
            f"has {architecture.classes}: write `classes = {len(images.classes)}` in its file"
        )
    return list(images.classes)


def _renumber(images: ImageSet, labels: NDArray[np.int64], network: ChosenNetwork) -> NDArray[np.int64]:
    """Return labels by the network's numbering, where the data set names its classes."""
    if images.classes is None:
        return labels
    number_of = {name: k for k, name in enumerate(network.classes)}
    unknown = [images.classes[k] for k in np.unique(labels) if images.classes[k] not in number_of]
    if unknown:
        raise ImageError(
            f"{images.name}: class {unknown[0]!r} is not known to network {network.name!r}, "
            f"which has {', '.join(network.classes[:MOST_OFFERED])}: name the folders so, name another "
            "network with --network, or train one on such images: `annealq networks train --data DATA`"
        )
    numbers = np.array([number_of.get(name, -1) for name in images.classes], dtype=np.int64)
    return numbers[labels]
