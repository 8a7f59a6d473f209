"""Draws images of a large source, as many as are read at once, for what needs all of them in one row."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from producer.images.imageset import ImageSet
from producer.intake.groups import joined
from producer.intake.source import READ_IN_PIECES_BYTES, LargeSource
from schema.quantities import count_text


def drawn(source: LargeSource, seed: int = 0, report: Callable[[int], None] = lambda _rows: None) -> ImageSet:
    """Return as many images of ``source`` as ``READ_IN_PIECES_BYTES`` hold, drawn with ``seed``, in order.

    Rows are drawn before the first is read, each with the same probability; of the others nothing is held in
    memory.

    Args:
        report: is called with the number of rows that each piece has passed; those between are counted.

    Raises:
        ImageError: as `LargeSource.read`.
    """
    most = max(READ_IN_PIECES_BYTES // math.prod(source.pieces.shape) // source.pieces.dtype.itemsize, 1)
    rows = np.arange(source.count) if source.rows is None else source.rows
    chosen = np.sort(np.random.default_rng(seed).permutation(len(rows))[:most])
    few = replace(source, rows=rows[chosen])
    parts, passed = [], 0
    for part in few.read():
        parts.append(part)
        report(int(part.rows[-1]) + 1 - passed)
        passed = int(part.rows[-1]) + 1
    images = joined(parts).images
    note = f"{count_text(len(images.images), 'image')} of {source.count:,} are drawn"
    return replace(images, notes=(*images.notes, note), origin=None)
