"""Decodes pictures one after the other, a few megabytes at a time, all of one size."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from producer.images.pictures.picture import decode
from producer.images.preprocessing import UNREADABLE, DifferentSizesError, LaterColourError
from schema.codecs.pieces import PIECE_BYTES
from schema.errors import ImageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

    from producer.images.pictures.entry import Entry
    from producer.images.pieces.allowance import Allowance
    from producer.images.preprocessing import Changes, Preprocessing


class Decoded(NamedTuple):
    """Pictures that follow one another: (n,) int64 rows, (n, *shape) uint8 images, and where they were."""

    rows: NDArray[np.int64]
    images: NDArray[np.uint8]
    entries: tuple[Entry, ...]


class Decoder:
    """Decodes the pictures of one source, which must all have the size of the first."""

    def __init__(
        self, name: str, preprocessing: Preprocessing, changes: Changes, allowance: Allowance | None
    ) -> None:
        """Prepare to decode pictures of the source ``name``; the other arguments are those of `decode`."""
        self._name, self._first, self._shape = name, "", (0,)
        self._preprocessing, self._changes, self._allowance = preprocessing, changes, allowance

    def read(self, entries: Iterable[tuple[int, Entry]], at_a_time: int | None = None) -> Iterator[Decoded]:
        """Yield the pictures ``entries``, each with its row, ``at_a_time`` or as many as make a piece.

        Raises:
            ImageError: one cannot be read and is not left out, or has another size than the first.
        """
        rows: list[int] = []
        images: list[NDArray[np.uint8]] = []
        read: list[Entry] = []
        size = 0
        for row, entry in entries:
            image = self._decode(entry)
            if image is None:
                continue
            rows.append(row)
            images.append(image)
            read.append(entry)
            size += image.size
            if size >= PIECE_BYTES or len(rows) == at_a_time:
                yield Decoded(np.array(rows, np.int64), np.stack(images), tuple(read))
                rows, images, read, size = [], [], [], 0
        if rows:
            yield Decoded(np.array(rows, np.int64), np.stack(images), tuple(read))

    def _decode(self, entry: Entry) -> NDArray[np.uint8] | None:
        """Return a picture; None if it is left out, which is counted."""
        try:
            with entry.open() as file:
                image = decode(file, entry.name, self._preprocessing, self._changes, self._allowance)
        except ImageError as error:
            if not self._preprocessing.skip_unreadable:
                raise ImageError(f"{error}; --skip-unreadable leaves such files out") from error
            self._changes.leave_out(entry.source, UNREADABLE)
            return None
        if not self._first:
            self._first, self._shape = entry.name, image.shape
            if image.ndim == 3:
                self._preprocessing = replace(self._preprocessing, colour=True)
        if image.ndim > len(self._shape):
            raise LaterColourError(entry.name)
        if image.shape != self._shape:
            sizes = f"{_size(self._first, self._shape)}, {_size(entry.name, image.shape)}"
            raise DifferentSizesError(
                f"{self._name} has pictures of different sizes ({sizes})", self._shape, image.shape
            )
        return image


def _size(name: str, shape: tuple[int, ...]) -> str:
    return f"{name} is {shape[0]} x {shape[1]}"
