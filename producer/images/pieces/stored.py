"""An array of a file: its header is read first, its values in pieces, and again if it takes two passes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from producer.images.limits import CHUNK_BYTES, MAX_FORTRAN_BYTES, format_bytes
from schema.errors import ImageError
from schema.quantities import count_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from numpy.typing import NDArray

    from producer.images.stream import Stream


@dataclass(frozen=True)
class Header:
    """What a file announces of its array; ``fortran_order``: the first index changes fastest."""

    dtype: np.dtype[np.generic]
    shape: tuple[int, ...]
    fortran_order: bool = False


class Values(Protocol):
    """An array whose values can be read in pieces, several times."""

    @property
    def dtype(self) -> np.dtype[np.generic]: ...

    @property
    def shape(self) -> tuple[int, ...]: ...

    def pieces(self, multiple: int = 1) -> Iterator[NDArray[np.generic]]:
        """Yield all values in C order, one-dimensional, a ``multiple`` of values at a time."""


class StoredArray:
    """An array of a file of unknown origin, of which no more than a piece is in memory."""

    def __init__(
        self,
        opened: Callable[[], AbstractContextManager[Stream]],
        read_header: Callable[[Stream], Header],
        announce: Callable[[str, int], None] | None = None,
    ) -> None:
        """Read and check the header.

        Args:
            opened: opens the file at its header.
            read_header: reads it, and ends where the values begin.
            announce: is called with name and bytes of the array; may refuse them.

        Raises:
            ImageError: the header cannot be used, or announces too much.
        """
        self._open, self._read_header = opened, read_header
        with opened() as stream:
            self.name, self._header = stream.name, read_header(stream)
            stream.check_claim(self.dtype, self.shape)
        self.nbytes = math.prod(self.shape) * self.dtype.itemsize
        if self._header.fortran_order and self.nbytes > MAX_FORTRAN_BYTES:
            raise ImageError(
                f"{self.name} has {format_bytes(self.nbytes)} in Fortran order, more than "
                f"{format_bytes(MAX_FORTRAN_BYTES)}: save numpy.ascontiguousarray(array)"
            )
        if announce is not None:
            announce(self.name, self.nbytes)

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """Return the type of the values, as they are in the file."""
        return self._header.dtype

    @property
    def shape(self) -> tuple[int, ...]:
        """Return the sizes of the array."""
        return self._header.shape

    def pieces(self, multiple: int = 1) -> Iterator[NDArray[np.generic]]:
        """Yield all values in C order, one-dimensional, about ``CHUNK_BYTES`` at a time.

        Args:
            multiple: the number of values of each piece is a multiple of it.

        Raises:
            ImageError: the file is damaged, or has fewer or more values than it announces.
        """
        if not self._header.fortran_order:
            yield from self._in_file_order(multiple)
            return
        stored = np.concatenate([np.empty(0, self.dtype), *self._in_file_order(1)])
        yield from ArrayValues(stored.reshape(self.shape[::-1]).T).pieces(multiple)

    def whole(self) -> NDArray[np.generic]:
        """Return the array in memory; raise as `pieces` does."""
        pieces = [np.empty(0, self.dtype), *self.pieces()]
        return np.concatenate(pieces).astype(self.dtype, copy=False).reshape(self.shape)

    def _in_file_order(self, multiple: int) -> Iterator[NDArray[np.generic]]:
        size = _values_at_a_time(self.dtype, multiple) * self.dtype.itemsize
        with self._open() as stream:
            if self._read_header(stream) != self._header:
                raise ImageError(f"{stream.name} changed while it was read: try again")
            for start in range(0, self.nbytes, size):
                wanted = min(size, self.nbytes - start)
                data = stream.read(wanted)
                if len(data) < wanted:
                    raise ImageError(
                        f"{stream.name} is truncated ({count_text(self.nbytes, 'byte')} of data announced, "
                        f"{start + len(data):,} found): fetch it again"
                    )
                yield np.frombuffer(data, self.dtype)
            if stream.file.read(1):
                raise ImageError(
                    f"{stream.name} has bytes after the {count_text(self.nbytes, 'byte')} of data announced: "
                    "fetch it again, or save one array to a file"
                )


class ArrayValues:
    """An array in memory, as `Values`."""

    def __init__(self, array: NDArray[np.generic]) -> None:
        self._array = array

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """Return the type of the values."""
        return self._array.dtype

    @property
    def shape(self) -> tuple[int, ...]:
        """Return the sizes of the array."""
        return self._array.shape

    def pieces(self, multiple: int = 1) -> Iterator[NDArray[np.generic]]:
        """Yield all values in C order, one-dimensional, as `StoredArray.pieces` does."""
        flat = self._array.reshape(-1)
        step = _values_at_a_time(self.dtype, multiple)
        for start in range(0, len(flat), step):
            yield flat[start : start + step]


def _values_at_a_time(dtype: np.dtype[np.generic], multiple: int) -> int:
    return multiple * max(1, CHUNK_BYTES // (max(dtype.itemsize, 1) * multiple))
