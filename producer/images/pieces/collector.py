"""Collects images in their order: in memory if they are few, else in a temporary file that is mapped.

Pages of such a file count as memory of the process only while they are used: `schema.codecs.pieces` lets
them go.
"""

from __future__ import annotations

import mmap
import tempfile
from typing import IO, TYPE_CHECKING, Self

import numpy as np

from producer.files import temporary
from schema.codecs.pieces import images_at_a_time, pieces, release
from schema.shapes import ImageArray, ImageShape

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from numpy.typing import NDArray

IN_MEMORY_BYTES = 8 * 2**20
"""Bytes that are collected in memory."""


class Collector:
    """Images of one shape, appended in their order, in a `with` block."""

    def __init__(self, count: int, shape: ImageShape) -> None:
        """Prepare for at most ``count`` images of ``shape``."""
        self._shape, total = shape, count * shape.count
        self._length = 0
        self._dtype = np.dtype(shape.dtype)
        in_memory = count * shape.nbytes <= IN_MEMORY_BYTES
        self._array = np.empty(total if in_memory else 0, self._dtype)
        self._file = None if in_memory else _unnamed_file()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        if self._file is not None:
            self._file.close()

    def append(self, values: NDArray[np.generic]) -> None:
        """Append ``values`` of the type of the images, of any shape, in C order.

        Raises:
            StorageError: the disk is full.
        """
        flat = np.ascontiguousarray(values, self._dtype).reshape(-1)
        if self._file is None:
            self._array[self._length : self._length + len(flat)] = flat
        else:
            with temporary():
                self._file.write(flat.data)
        self._length += len(flat)

    def finish(self) -> ImageArray:
        """Return the collected images; those of a file are read-only."""
        if self._file is None:
            return self._array[: self._length].reshape(-1, *self._shape.sizes)
        with temporary():
            self._file.flush()
            mapping = mmap.mmap(
                self._file.fileno(), self._length * self._dtype.itemsize, access=mmap.ACCESS_READ
            )
        return np.frombuffer(mapping, self._dtype).reshape(-1, *self._shape.sizes)


def _unnamed_file() -> IO[bytes]:
    """Open a file that the system deletes once nothing uses it, however this process ends."""
    with temporary():
        return tempfile.TemporaryFile(prefix="annealq-")


def collect(count: int, shape: ImageShape, parts: Iterable[NDArray[np.generic]]) -> ImageArray:
    """Return ``parts``, the values of ``count`` images of ``shape`` in their order, as `Collector` does."""
    with Collector(count, shape) as collector:
        for part in parts:
            collector.append(part)
        return collector.finish()


def in_pieces(
    change: Callable[[ImageArray], NDArray[np.generic]], images: ImageArray, shape: ImageShape | None = None
) -> ImageArray:
    """Return ``images`` with every piece as ``change`` returns it, of ``shape``; by default of their own."""
    return collect(len(images), shape or ImageShape.of(images), map(change, pieces(images)))


def take_rows(images: ImageArray, rows: NDArray[np.intp]) -> ImageArray:
    """Return the images of ``rows``, in their order."""
    step = images_at_a_time(images)
    with Collector(len(rows), ImageShape.of(images)) as collector:
        for start in range(0, len(rows), step):
            collector.append(images[rows[start : start + step]])
            release(images)
        return collector.finish()
