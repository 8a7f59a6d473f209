"""What the trained layers of a network take: the pixels of a batch, or its vectors by a backbone.

The vectors of a batch are computed before it is sampled. Those that were pruned since, or that a later round
of reads needs, are computed again here.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from sqlalchemy.orm import Session

from schema.database.feature_requests import feature_request
from schema.errors import BackboneError
from schema.network.recipes import Recipe
from schema.shapes import ImageArray
from worker.compute import scoring
from worker.network.trained import TrainedNetwork
from worker.pipeline.features.vectors import vectors_of
from worker.records.batches import BatchInput
from worker.records.features import feature_sets
from worker.records.features.backbones import BackboneCache


def with_vectors(
    session: Session, cache: BackboneCache, batch_input: BatchInput, network: TrainedNetwork
) -> BatchInput:
    """Return ``batch_input`` with what ``network`` takes: with vectors, if it begins with a backbone.

    Args:
        session: reads the vectors, or the backbone.
        cache: backbones that are loaded.

    Raises:
        BackboneError: they could not be computed.
        Corrupt: what is stored is damaged.
    """
    if network.backbone is None or batch_input.vectors is not None:
        return batch_input
    if batch_input.feature_set is not None:
        if (error := feature_sets.error_of(session, batch_input.feature_set)) is not None:
            raise BackboneError(error)
        stored = feature_sets.load_vectors(session, batch_input.feature_set)
        if stored is not None:
            return replace(batch_input, vectors=stored)
    images = scoring.pixels(batch_input)
    return replace(batch_input, vectors=image_inputs(session, cache, batch_input.network, network, images))


def image_inputs(
    session: Session, cache: BackboneCache, row: int, network: TrainedNetwork, images: ImageArray
) -> ImageArray:
    """Return what the trained layers of ``network``, which is in ``row``, take of ``images``.

    Args:
        session: reads the backbone.
        cache: backbones that are loaded.

    Raises:
        BackboneError: the vectors could not be computed.
        ImageError: the backbone takes no such images.
    """
    if network.backbone is None:
        return images
    request = feature_request(session, row)
    if request is None:
        raise BackboneError(f"network {row} has no backbone, though its layers had one")
    backbone = cache.get(session, request.backbone, 1)
    vectors = vectors_of(backbone, Recipe.of(network.backbone), images, lambda: None)
    # As they are stored, so that an image has the same features whatever was pruned.
    return vectors.astype(np.float16).astype(np.float32)
