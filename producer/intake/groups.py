"""Cuts the images of a source into groups, each of which is added to its run in one transaction."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from producer.intake.references import named_batch
from producer.intake.source import Part
from schema.codecs import arrays
from schema.codecs.batches import BatchRow, encode_batches
from schema.shards.reference import ShardRows

_GROUP_BYTES = 8 * 2**20
_GROUP_BATCHES = 1_000


def groups(parts: Iterable[Part], batch_size: int) -> Iterator[Part]:
    """Yield ``parts`` in groups of whole batches of ``batch_size`` images; the last of a file may have fewer.

    So a batch is of one file.
    """
    waiting: list[Part] = []
    count = 0
    for part in parts:
        if waiting and part.shard != waiting[0].shard:
            yield joined(waiting)
            waiting, count = [], 0
        waiting.append(part)
        count += len(part.rows)
        size = _group_size(part, batch_size)
        while count >= size:
            whole = joined(waiting)
            yield whole.cut(0, size)
            waiting = [] if count == size else [whole.cut(size, count)]
            count -= size
    if waiting:
        yield joined(waiting)


def rows_of(
    group: Part, first: int, ordinal: int, batch_size: int, shard: ShardRows | None = None
) -> list[BatchRow]:
    """Return the batches of ``group``: the first is batch ``ordinal`` and has image ``first`` of its run.

    With ``shard``, the rows of ``group`` in its file, batches name their rows instead of holding images.

    Raises:
        ImageError, ShardError: the rows cannot be named: see `named_batch`.
    """
    batches = _encoded(group, first, ordinal, batch_size)
    if shard is None:
        return batches
    return [named_batch(batch, batch.row["first_image"] - first, shard) for batch in batches]


def _encoded(group: Part, first: int, ordinal: int, batch_size: int) -> list[BatchRow]:
    images = group.images
    return [
        BatchRow(
            {
                **batch.row,
                "ordinal": ordinal + batch.row["ordinal"],
                "first_image": first + batch.row["first_image"],
            },
            batch.images,
        )
        for batch in encode_batches(images.images, images.labels, images.sources, batch_size)
    ]


def grown_digest(content_sha256: str, batches: Sequence[BatchRow]) -> str:
    """Return the digest of the content of a run after ``batches`` were added to it.

    It does not depend on how many are added at a time.
    """
    for batch in batches:
        content_sha256 = arrays.digest(content_sha256.encode(), batch.images["images_sha256"].encode())
    return content_sha256


def _group_size(part: Part, batch_size: int) -> int:
    """Return the number of images like those of ``part`` in a group: whole batches."""
    image_bytes = part.images.images.nbytes // len(part.rows)
    batches = min(max(_GROUP_BYTES // (image_bytes * batch_size), 1), _GROUP_BATCHES)
    return batches * batch_size


def joined(parts: Sequence[Part]) -> Part:
    """Return all rows of ``parts``, at least one, in their order, as of the file of the first."""
    if len(parts) == 1:
        return parts[0]
    images = [part.images for part in parts]
    labels = [each.labels for each in images if each.labels is not None]
    sources = tuple(name for each in images for name in each.sources or ())
    whole = replace(
        images[0],
        images=np.concatenate([each.images for each in images]),
        labels=np.concatenate(labels) if labels else None,
        sources=sources or None,
    )
    return Part(whole, np.concatenate([part.rows for part in parts]), parts[0].shard)
