"""The batches of a run as rows, and the digest of its content."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schema.codecs import arrays
from schema.codecs.pieces import release
from schema.shapes import ImageArray, ImageShape


@dataclass(frozen=True)
class BatchRow:
    """A batch: its rows of `batches`, without state and times, and of `batch_images`."""

    row: dict[str, Any]
    images: dict[str, Any]


def encode_batches(
    images: ImageArray,
    labels: NDArray[np.integer] | None,
    sources: Sequence[str] | None,
    size: int,
) -> Iterator[BatchRow]:
    """Yield the rows of ``images`` in batches of ``size``, each encoded when it is asked for.

    Args:
        images: as the network takes them.
        labels: (N,), by the network's numbering.
        sources: N file names.
    """
    for first in range(0, len(images), size):
        yield _batch(images, labels, sources, first, size)
        release(images)


def batch_count(images: int, size: int) -> int:
    """Return the number of batches of ``size`` that that many ``images`` make."""
    return -(-images // size)


def run_digest(
    network: int,
    solver: str,
    parameters: Mapping[str, Any],
    images: ImageArray,
    labels: NDArray[np.integer] | None,
) -> str:
    """Return the digest of what decides about the results of a run of ``images``."""
    what = {"network": network, "solver": solver, "parameters": dict(parameters)}
    return arrays.images_digest([arrays.canonical(what)], images, labels)


def _batch(
    images: ImageArray,
    labels: NDArray[np.integer] | None,
    sources: Sequence[str] | None,
    first: int,
    size: int,
) -> BatchRow:
    part = slice(first, first + size)
    pixels = images[part]
    data = arrays.encode_images(pixels)
    encoded = None if labels is None else arrays.encode_labels(labels[part])
    shape = ImageShape.of(pixels)
    row = {"ordinal": first // size, "first_image": first, "count": len(pixels), **shape.row()}
    stored = {
        "images": data,
        "images_sha256": arrays.batch_checksum(data, shape, encoded),
        "labels": encoded,
        "sources": None if sources is None else list(sources[part]),
    }
    return BatchRow(row, stored)
