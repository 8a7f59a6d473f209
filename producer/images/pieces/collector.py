"""Collects pixels in their order: in memory if they are few, else in a temporary file that is mapped.

Pages of such a file count as memory of the process only while they are used: `schema.codecs.pieces` lets
them go.
"""

from __future__ import annotations

import math
import mmap
import tempfile
from typing import IO, TYPE_CHECKING, Self

import numpy as np

from producer.files import temporary
from schema.codecs.pieces import images_at_a_time, pieces, release

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from numpy.typing import NDArray

IN_MEMORY_BYTES = 8 * 2**20
"""Pixels that are collected in memory."""


class Collector:
    """Pixels of images of one size, appended in their order, in a `with` block."""

    def __init__(self, count: int, size: tuple[int, int]) -> None:
        """Prepare for at most ``count`` images of ``size``, (height, width)."""
        self._size, total = size, count * math.prod(size)
        self._length = 0
        self._array = np.empty(total if total <= IN_MEMORY_BYTES else 0, np.uint8)
        self._file = _unnamed_file() if total > IN_MEMORY_BYTES else None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        if self._file is not None:
            self._file.close()

    def append(self, pixels: NDArray[np.uint8]) -> None:
        """Append ``pixels``, of any shape, in C order; raise StorageError if the disk is full."""
        flat = np.ascontiguousarray(pixels).reshape(-1)
        if self._file is None:
            self._array[self._length : self._length + len(flat)] = flat
        else:
            with temporary():
                self._file.write(flat.data)
        self._length += len(flat)

    def finish(self) -> NDArray[np.uint8]:
        """Return the collected images, (N, H, W); those of a file are read-only."""
        if self._file is None:
            return self._array[: self._length].reshape(-1, *self._size)
        with temporary():
            self._file.flush()
            mapping = mmap.mmap(self._file.fileno(), self._length, access=mmap.ACCESS_READ)
        return np.frombuffer(mapping, np.uint8).reshape(-1, *self._size)


def _unnamed_file() -> IO[bytes]:
    """Open a file that the system deletes once nothing uses it, however this process ends."""
    with temporary():
        return tempfile.TemporaryFile(prefix="annealq-")


def collect(count: int, size: tuple[int, int], parts: Iterable[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """Return ``parts``, the pixels of ``count`` images of ``size`` in their order, as `Collector` does."""
    with Collector(count, size) as collector:
        for part in parts:
            collector.append(part)
        return collector.finish()


def in_pieces(
    change: Callable[[NDArray[np.uint8]], NDArray[np.uint8]], images: NDArray[np.uint8]
) -> NDArray[np.uint8]:
    """Return ``images``, (N, H, W), with every piece as ``change`` returns it, of the same shape."""
    height, width = images.shape[1:]
    return collect(len(images), (height, width), map(change, pieces(images)))


def take_rows(images: NDArray[np.uint8], rows: NDArray[np.intp]) -> NDArray[np.uint8]:
    """Return the images of ``rows``, in their order."""
    step = images_at_a_time(images)
    height, width = images.shape[1:]
    with Collector(len(rows), (height, width)) as collector:
        for start in range(0, len(rows), step):
            collector.append(images[rows[start : start + step]])
            release(images)
        return collector.finish()
