"""Pictures of a folder, an archive or a table of paths -> pieces of decoded images."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice, pairwise
from typing import TYPE_CHECKING

from producer.images.pictures.decoding import Decoder
from producer.images.pieces.piece import Piece
from producer.images.preprocessing import Changes, DifferentSizesError, LaterColourError
from schema.errors import ImageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from producer.images.pictures.entry import Pictures
    from producer.images.pieces.allowance import Allowance
    from producer.images.preprocessing import Preprocessing


class PicturePieces:
    """Listed pictures as `producer.images.pieces.piece.Pieces`."""

    def __init__(
        self, pictures: Pictures, preprocessing: Preprocessing, changes: Changes, allowance: Allowance
    ) -> None:
        """Decode the first picture.

        Args:
            pictures: at least one.
            preprocessing: what is done to each.
            changes: counts what was changed and left out, at each reading.
            allowance: what they may need.

        Raises:
            ImageError: no picture can be read, or as `read`.
        """
        self._pictures, self._preprocessing = pictures, preprocessing
        self._changes, self._allowance = changes, allowance
        self.name, self.count, self.classes = pictures.name, pictures.count, pictures.classes
        self.labelled, self.shards = pictures.labels is not None, tuple(pictures.shards)
        allowance.names(self.count)
        allowance.labels(self.count if self.labelled else 0)
        allowance.images(1 if preprocessing.skip_unreadable else self.count)
        first = next(self._read(0, Changes(), 1), None)
        if first is None:
            raise ImageError(f"{self.name} has no pictures that can be read: remove or repair them")
        self.shape, self.dtype = first.images.shape[1:], first.images.dtype
        if len(self.shape) == 3:
            self._preprocessing = replace(preprocessing, colour=True)

    def read(self, first: int = 0) -> Iterator[Piece]:
        """Yield the pictures from row ``first`` on, as `Pieces.read` does."""
        for piece in self._read(first, self._changes):
            if piece.images.ndim > 1 + len(self.shape) > 2:
                raise LaterColourError(f"{self.name} row {piece.rows[0]:,}")
            if piece.images.shape[1:] != self.shape:
                sizes = [" x ".join(map(str, shape[:2])) for shape in (self.shape, piece.images.shape[1:])]
                raise DifferentSizesError(
                    f"{self.name} has pictures of different sizes (the first is {sizes[0]}, row "
                    f"{piece.rows[0]:,} is {sizes[1]})",
                    self.shape,
                    piece.images.shape[1:],
                )
            yield piece

    def _read(self, first: int, changes: Changes, at_a_time: int | None = None) -> Iterator[Piece]:
        """Yield pictures from row ``first`` on, of any shape; ``changes`` counts them."""
        decoder = Decoder(self.name, self._preprocessing, changes, self._allowance)
        entries = self._pictures.entries(first)
        starts = [shard.first for shard in self.shards]
        for shard, (start, end) in enumerate(pairwise([*starts, self.count])):
            rows = range(max(start, first), max(end, first))
            for decoded in decoder.read(zip(rows, islice(entries, len(rows)), strict=True), at_a_time):
                labels = None if self._pictures.labels is None else self._pictures.labels[decoded.rows]
                yield Piece(shard, decoded.rows, decoded.images, labels, decoded.names)
