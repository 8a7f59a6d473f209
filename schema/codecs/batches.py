"""The batches of a run as rows, and the digest of its content."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schema.codecs import arrays


@dataclass(frozen=True)
class BatchRow:
    """A batch: its rows of `batches`, without state and times, and of `batch_images`."""

    row: dict[str, Any]
    images: dict[str, Any]


def encode_batches(
    images: NDArray[np.uint8],
    labels: NDArray[np.integer] | None,
    sources: Sequence[str] | None,
    size: int,
) -> list[BatchRow]:
    """Return the rows of ``images`` in batches of ``size``.

    Args:
        images: (N, H, W), as the network takes them.
        labels: (N,), by the network's numbering.
        sources: N file names.
    """
    return [_batch(images, labels, sources, first, size) for first in range(0, len(images), size)]


def run_digest(
    network: int,
    solver: str,
    parameters: Mapping[str, Any],
    images: NDArray[np.uint8],
    labels: NDArray[np.integer] | None,
) -> str:
    """Return the digest of what decides about the results of a run of ``images`` (N, H, W)."""
    return arrays.digest(
        arrays.canonical({"network": network, "solver": solver, "parameters": dict(parameters)}),
        str(images.shape).encode(),
        arrays.encode_images(images),
        b"" if labels is None else arrays.encode_labels(labels),
    )


def _batch(
    images: NDArray[np.uint8],
    labels: NDArray[np.integer] | None,
    sources: Sequence[str] | None,
    first: int,
    size: int,
) -> BatchRow:
    part = slice(first, first + size)
    pixels = images[part]
    data = arrays.encode_images(pixels)
    encoded = None if labels is None else arrays.encode_labels(labels[part])
    count, height, width = pixels.shape
    row = {
        "ordinal": first // size,
        "first_image": first,
        "count": count,
        "height": height,
        "width": width,
    }
    stored = {
        "images": data,
        "images_sha256": arrays.batch_checksum(data, encoded),
        "labels": encoded,
        "sources": None if sources is None else list(sources[part]),
    }
    return BatchRow(row, stored)
