"""Images a piece at a time, so that those of a file that is mapped need little memory."""

from __future__ import annotations

import math
import mmap
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

PIECE_BYTES = 2**20
"""Bytes of a piece, if an image has not more."""


def pieces(images: NDArray[np.uint8 | np.float32]) -> Iterator[NDArray[np.uint8 | np.float32]]:
    """Yield ``images``, about ``PIECE_BYTES`` at a time and at least one image."""
    step = images_at_a_time(images)
    for start in range(0, len(images), step):
        yield images[start : start + step]
        release(images)


def images_at_a_time(images: NDArray[np.uint8 | np.float32]) -> int:
    """Return the number of images in a piece."""
    return max(1, PIECE_BYTES // max(math.prod(images.shape[1:]) * images.itemsize, 1))


def release(images: NDArray[np.uint8 | np.float32]) -> None:
    """Let the system take the memory of a mapped file's pages back; they are read again when needed."""
    owner: object = images
    while isinstance(owner, np.ndarray | memoryview):
        owner = owner.base if isinstance(owner, np.ndarray) else owner.obj
    if isinstance(owner, mmap.mmap):
        owner.madvise(mmap.MADV_DONTNEED)
