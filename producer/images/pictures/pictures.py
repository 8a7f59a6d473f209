"""Pictures of a folder, an archive or a table of paths -> pieces of decoded images."""

from __future__ import annotations

from itertools import islice, pairwise
from typing import TYPE_CHECKING

from producer.images.pictures.decoding import Decoder
from producer.images.pieces.piece import Piece
from producer.images.pieces.uniform import UniformPieces

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray

    from producer.images.pictures.entry import Pictures
    from producer.images.pieces.allowance import Allowance
    from producer.images.preprocessing import Changes, Preprocessing


class PicturePieces(UniformPieces):
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
        self._pictures, self._allowance = pictures, allowance
        self.name, self.count, self.classes = pictures.name, pictures.count, pictures.classes
        self.labelled, self.shards = pictures.labels is not None, tuple(pictures.shards)
        allowance.names(self.count)
        allowance.labels(self.count if self.labelled else 0)
        allowance.images(1 if preprocessing.skip_unreadable else self.count)
        super().__init__(preprocessing, changes, "pictures")

    def read_labels(self) -> NDArray[np.int64] | None:
        """Return the label of each picture, as `Pieces.read_labels` does."""
        return self._pictures.labels

    def _read(
        self, first: int, preprocessing: Preprocessing, changes: Changes, at_a_time: int | None = None
    ) -> Iterator[Piece]:
        decoder = Decoder(self.name, preprocessing, changes, self._allowance)
        entries = self._pictures.entries(first)
        starts = [shard.first for shard in self.shards]
        for shard, (start, end) in enumerate(pairwise([*starts, self.count])):
            rows = range(max(start, first), max(end, first))
            for decoded in decoder.read(zip(rows, islice(entries, len(rows)), strict=True), at_a_time):
                labels = None if self._pictures.labels is None else self._pictures.labels[decoded.rows]
                names = tuple(entry.source for entry in decoded.entries)
                yield Piece(shard, decoded.rows, decoded.images, labels, names)
