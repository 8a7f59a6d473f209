"""Rows that all have the shape of the first one: shared by the sources that are decoded row by row."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import replace
from typing import TYPE_CHECKING

from producer.images.preprocessing import Changes, DifferentSizesError, LaterColourError
from schema.errors import ImageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np

    from producer.images.pieces.piece import Piece, Shard
    from producer.images.preprocessing import Preprocessing


class UniformPieces(ABC):
    """Rows as `producer.images.pieces.piece.Pieces`, whose shape is known once the first is decoded."""

    name: str
    count: int
    labelled: bool
    classes: tuple[str, ...] | None
    shards: tuple[Shard, ...]
    shape: tuple[int, ...]
    dtype: np.dtype[np.uint8 | np.float32]

    def __init__(self, preprocessing: Preprocessing, changes: Changes, rows: str) -> None:
        """Decode the first row, once the other attributes are there.

        Args:
            preprocessing: what is done to each row.
            changes: counts what was changed and left out, at each reading.
            rows: what they are called in messages.

        Raises:
            ImageError: no row can be read, or as `read`.
        """
        self._preprocessing, self._changes = preprocessing, changes
        first = next(self._read(0, preprocessing, Changes(), 1), None)
        if first is None:
            raise ImageError(f"{self.name} has no {rows} that can be read: remove or repair them")
        self.shape, self.dtype = first.images.shape[1:], first.images.dtype
        if len(self.shape) == 3:
            self._preprocessing = replace(preprocessing, colour=True)

    @abstractmethod
    def _read(
        self, first: int, preprocessing: Preprocessing, changes: Changes, at_a_time: int | None = None
    ) -> Iterator[Piece]:
        """Yield the rows from number ``first`` on, each piece of rows of one shape, whatever it is.

        Args:
            first: number of a row in the whole source.
            preprocessing: what is done to each row.
            changes: counts what was changed and left out.
            at_a_time: rows that are decoded before they are yielded; None: as many as make a piece.
        """

    def read(self, first: int = 0) -> Iterator[Piece]:
        """Yield the rows from number ``first`` on, as `Pieces.read` does."""
        for piece in self._read(first, self._preprocessing, self._changes):
            if piece.images.shape[1:] != self.shape:
                self._refuse(piece)
            yield piece

    def _refuse(self, piece: Piece) -> None:
        """Raise ImageError for ``piece``, whose rows have another shape than the first row of the source."""
        shape, where = piece.images.shape[1:], f"row {piece.rows[0]:,}"
        if len(shape) > len(self.shape) > 1:
            raise LaterColourError(f"{self.name} {where}")
        sizes = [" x ".join(f"{size:,}" for size in each[:2]) for each in (self.shape, shape)]
        if len(shape) == 1:
            raise ImageError(
                f"{self.name} has {sizes[0]} values in its first row and {sizes[1]} in {where}: give all "
                "vectors one length"
            )
        raise DifferentSizesError(
            f"{self.name} has pictures of different sizes (the first is {sizes[0]}, {where} is {sizes[1]})",
            self.shape,
            shape,
        )
