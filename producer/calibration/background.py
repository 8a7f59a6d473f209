"""Finds out whether images have a bright background where a network was trained on a dark one, or reverse."""

from __future__ import annotations

import zlib

import numpy as np
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from producer.images.imageset import ImageSet
from producer.networks.chosen import ChosenNetwork
from schema.network.layers import ImageInput, VectorInput
from schema.parameters import Origin
from schema.shapes import ImageArray
from schema.tables import Network, TrainingSet

_SAMPLE = 200  # images
_PACKED_BYTES = 65_536  # read of a stored training set
_MARGIN = 0.2  # of the range of values, on both sides of its middle


def warning(session: Session, images: ImageSet, network: ChosenNetwork) -> str | None:
    """Return a warning if the borders of ``images`` are bright and those of the training images dark.

    It is the same the other way round. Shipped networks were trained on dark borders. ``session`` reads the
    training images of others; None if they are not stored, or neither bright nor dark.
    """
    takes = network.takes
    if isinstance(takes, VectorInput):
        return None
    here = border(images.images[:_SAMPLE]) / takes.image_max
    if abs(here - 0.5) < _MARGIN:
        return None
    there = _border_of_training(session, network, takes)
    if there is None or abs(there - 0.5) < _MARGIN or (here > 0.5) == (there > 0.5):
        return None
    words = ("bright", "dark") if here > 0.5 else ("dark", "bright")
    return (
        f"warning: the borders of these images are {words[0]}, and network {network.name!r} was trained on "
        f"{words[1]} ones: if its classes look the same otherwise, add --invert, or leave it out"
    )


def border(images: ImageArray) -> float:
    """Return the median of the outermost pixels of ``images``, grey or coloured."""
    edges = (images[:, 0], images[:, -1], images[:, :, 0], images[:, :, -1])
    return float(np.median(np.concatenate([edge.reshape(-1) for edge in edges])))


def _border_of_training(session: Session, network: ChosenNetwork, takes: ImageInput) -> float | None:
    """Return the median border of the first images that ``network`` was trained on, from 0 to 1."""
    row = session.execute(
        select(Network.training, func.substr(TrainingSet.images, 1, _PACKED_BYTES).label("packed"))
        .outerjoin(TrainingSet, TrainingSet.id == Network.training_set_id)
        .where(Network.id == network.id)
    ).first()
    if row is None:
        return None
    if row.training.get("origin") == Origin.SHIPPED:
        return 0.0
    if row.packed is None:
        return None
    shape = takes.image_shape
    try:
        pixels = zlib.decompressobj().decompress(bytes(row.packed), _SAMPLE * shape.nbytes)
    except zlib.error:  # the doctor reports damage
        return None
    count = len(pixels) // shape.nbytes
    if count == 0:
        return None
    stored = np.frombuffer(pixels[: count * shape.nbytes], np.uint8)
    return border(stored.reshape(shape.array(count))) / takes.image_max
