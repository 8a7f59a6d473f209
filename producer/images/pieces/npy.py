"""The images of a .npy file as pieces: from any row on, without the rows before it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from producer.images.arrays.npy import read_header
from producer.images.pieces.piece import Piece, Shard
from producer.images.stream import Stream, open_regular, printable
from producer.images.values.pixels import to_pixels
from schema.errors import ImageError
from schema.shapes import COLOURS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from producer.images.pieces.stored import Header

_PIECE_BYTES = 4 * 2**20


class NpyPieces:
    """The images of a .npy file, (N, ...) uint8 in C order, as `producer.images.pieces.piece.Pieces`."""

    labelled, classes = False, None

    def __init__(self, path: Path) -> None:
        """Read the header of ``path``.

        Raises:
            ImageError: it is not a stack of images that can be read from any row on; `can_read` says so.
        """
        self._path, self.name = path, printable(path.name)
        header, self._start = _open(path)
        if not _is_stack(header):
            raise ImageError(f"{self.name} is not a stack of images of bytes in C order: save it as such")
        self.count, self.dtype = header.shape[0], np.dtype(np.uint8)
        self._stored = header.shape[1:]
        self.shape = self._stored[:2] if self._stored[2:] == (1,) else self._stored
        self.shards = (Shard(printable(path.absolute()), 0),)
        self._row_bytes = math.prod(self._stored)

    def read_labels(self) -> None:
        """Return None: a .npy file of images has no labels."""

    def read(self, first: int = 0) -> Iterator[Piece]:
        """Yield the images from row ``first`` on; raise ImageError if the file ends before the last one."""
        step = max(1, _PIECE_BYTES // self._row_bytes)
        with open_regular(self._path) as file:
            file.seek(self._start + first * self._row_bytes)
            for start in range(first, self.count, step):
                rows = min(step, self.count - start)
                data = file.read(rows * self._row_bytes)
                whole = len(data) // self._row_bytes
                if whole:
                    images = np.frombuffer(data, np.uint8, whole * self._row_bytes)
                    numbers = np.arange(start, start + whole, dtype=np.int64)
                    pixels = to_pixels(images.reshape(whole, *self._stored), self.name)
                    yield Piece(0, numbers, pixels, None, None)
                if whole < rows:
                    raise ImageError(
                        f"{self.name} ends in image {start + whole:,} (counted from 0): fetch it again"
                    )


def can_read(path: Path) -> bool:
    """Return whether `NpyPieces` takes the file at ``path``; those that it does not are read at once."""
    try:
        header, _ = _open(path)
    except ImageError:
        return False  # whoever reads it at once says why
    return _is_stack(header)


def _is_stack(header: Header) -> bool:
    """Return whether the array can be nothing but images, in an order that is read from any row on."""
    shape = header.shape
    is_grey = len(shape) == len("NHW") and shape[2] != COLOURS  # else it may be one picture
    is_stack = is_grey or (len(shape) == len("NHWC") and shape[3] in (1, COLOURS))
    return is_stack and min(shape) > 0 and header.dtype == np.uint8 and not header.fortran_order


def _open(path: Path) -> tuple[Header, int]:
    with open_regular(path) as file:
        header = read_header(Stream(file, printable(path), path.stat().st_size))
        return header, file.tell()
