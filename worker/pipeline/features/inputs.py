"""What the trained layers of a network take of images: pixels, vectors of its backbones, or both in a row.

The vectors of a batch are computed before it is sampled. Those that were pruned since are computed again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from sqlalchemy.orm import Session

from schema.database.feature_requests import requests_of
from schema.errors import BackboneError
from schema.network.architecture import Architecture
from schema.shapes import ImageArray, InputArray
from worker.compute import scoring
from worker.network.features import join_inputs
from worker.pipeline.features.vectors import vectors_of
from worker.records import batches
from worker.records.batches import BatchInput
from worker.records.features import feature_sets
from worker.records.features.backbones import BackboneCache


def load_inputs(session: Session, cache: BackboneCache, batch: int, architecture: Architecture) -> BatchInput:
    """Read ``batch`` from ``session``, with what the trained layers of ``architecture`` take of its images.

    See `with_inputs`, which raises the same.
    """
    return with_inputs(session, cache, batches.load(session, batch), architecture)


def with_inputs(
    session: Session, cache: BackboneCache, batch_input: BatchInput, architecture: Architecture
) -> BatchInput:
    """Return ``batch_input`` with what the trained layers of ``architecture`` take of its images.

    Args:
        session: reads the vectors, or the backbones.
        cache: backbones that are loaded.

    Raises:
        BackboneError: vectors could not be computed.
        Corrupt: what is stored is damaged.
    """
    if not architecture.backbones:
        return batch_input
    sets = feature_sets.sets_of_batch(session, batch_input.batch)
    if (error := feature_sets.error_of(session, sets.values())) is not None:
        raise BackboneError(error)
    stored = {digest: feature_sets.load_vectors(session, row) for digest, row in sets.items()}
    joined = inputs_of(session, cache, architecture, scoring.pixels(batch_input), stored)
    return replace(batch_input, joined=joined)


def inputs_of(
    session: Session,
    cache: BackboneCache,
    architecture: Architecture,
    images: ImageArray,
    stored: Mapping[str, NDArray[np.float16] | None] | None = None,
) -> InputArray:
    """Return what the trained layers of ``architecture`` take of ``images``.

    Args:
        session: reads the backbones.
        cache: those that are loaded.
        stored: vectors of the images by the digest of their recipe; others are computed.

    Raises:
        BackboneError: vectors could not be computed.
        Corrupt: the file of a backbone is damaged.
    """
    vectors = list(_vectors(session, cache, architecture, images, stored or {}))
    return join_inputs(vectors, images if architecture.sees_images else None)


def _vectors(
    session: Session,
    cache: BackboneCache,
    architecture: Architecture,
    images: ImageArray,
    stored: Mapping[str, NDArray[np.float16] | None],
) -> Iterator[NDArray[np.float16]]:
    for request in requests_of(session, architecture):
        vectors = stored.get(request.recipe.digest)
        if vectors is None:
            backbone = cache.get(session, request.backbone, 1)
            # As they are stored, so that an image has the same features whatever was pruned.
            vectors = vectors_of(backbone, request.recipe, images, lambda: None).astype(np.float16)
        yield vectors
