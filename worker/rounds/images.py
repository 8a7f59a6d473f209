"""Copies the images of a later round to batches of their own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from schema.codecs import arrays
from schema.codecs.corruption import stored_in
from schema.shapes import ImageArray, ImageShape
from schema.shards.reference import encoded_images
from schema.states import BatchState
from schema.tables import Batch, BatchImages

Rows = tuple[dict[str, Any], dict[str, Any]]  # of a batch: those of `batches` and of `batch_images`


def copy_batches(
    session: Session, run: int, images: NDArray[np.int64], parts: Sequence[slice], number: int, reads: int
) -> list[Rows]:
    """Return the rows of the batches ``parts`` of ``images``, whose pixels and labels ``session`` reads.

    They follow the batches that ``run`` has; in round ``number`` each image is read ``reads`` times.

    Raises:
        Corrupt: a batch with one of the images is damaged.
    """
    pixels, labels = _read(session, run, images)
    last = func.max(Batch.ordinal), func.max(Batch.first_image + Batch.count)
    ordinal, first = session.execute(select(*last).where(Batch.run_id == run)).one()
    rows = []
    for index, part in enumerate(parts, start=1):
        data = arrays.encode_images(pixels[part])
        labelled = None if labels is None else arrays.encode_labels(labels[part])
        shape = ImageShape.of(pixels)
        row = {
            "run_id": run,
            "ordinal": ordinal + index,
            "first_image": first + part.start,
            "count": len(pixels[part]),
            **shape.row(),
            "round": number,
            "reads": reads,
            "members": arrays.encode_members(images[part]),
            "state": BatchState.PENDING,
        }
        checksum = arrays.batch_checksum(data, shape, labelled)
        rows.append((row, {"images": data, "images_sha256": checksum, "labels": labelled}))
    return rows


def _read(
    session: Session, run: int, images: NDArray[np.int64]
) -> tuple[ImageArray, NDArray[np.int16] | None]:
    """Return the values of ``images``, and their labels (n,) if there are any."""
    columns = (Batch.id, Batch.first_image, Batch.count, Batch.shape, Batch.dtype)
    first_round = select(*columns).where(Batch.run_id == run, Batch.round == 1)
    pixels: ImageArray | None = None
    labels: NDArray[np.int16] | None = None
    for batch, first, count, *texts in session.execute(first_round.order_by(Batch.ordinal)).all():
        places = np.flatnonzero((images >= first) & (images < first + count))
        if not len(places):
            continue
        # One at a time: those of a whole run may be too many for memory.
        parts = (BatchImages.images, BatchImages.reference, BatchImages.images_sha256, BatchImages.labels)
        stored = session.execute(select(*parts).where(BatchImages.batch_id == batch)).one()
        with stored_in(f"batch {batch} of run {run}", "classify the images again"):
            shape = arrays.read_shape(*texts)
            encoded = encoded_images(stored.images, stored.reference)
            decoded = arrays.decode_images(encoded, count, shape, stored.images_sha256, stored.labels)
            if pixels is None:
                pixels = np.empty(shape.array(len(images)), shape.stored_dtype)
            pixels[places] = decoded[images[places] - first]
            if stored.labels is not None:
                labels = np.empty(len(images), np.int16) if labels is None else labels
                labels[places] = arrays.decode_labels(stored.labels, count)[images[places] - first]
    if pixels is None:
        raise ValueError("images of a later round are among those of the first")
    return pixels, labels
