"""Rows of a table -> pieces of decoded pictures, of pixels or of vectors, with their labels."""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING, Any

import numpy as np

from producer.images.columns.cells import read_cells
from producer.images.columns.labels import check_labels
from producer.images.columns.lists import storage_type
from producer.images.columns.pixels import is_flattened, state_shape
from producer.images.columns.pyarrow_errors import translate_pyarrow
from producer.images.columns.vectors import read_vectors
from producer.images.pictures.decoding import Decoder
from producer.images.pieces.piece import Piece, Shard
from producer.images.pieces.preparation import prepare
from producer.images.pieces.uniform import UniformPieces
from producer.images.preprocessing import ReadAs
from schema.errors import ImageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from producer.images.columns.layout import Columns
    from producer.images.pieces.allowance import Allowance
    from producer.images.preprocessing import Changes, Preprocessing


class ColumnPieces(UniformPieces):
    """A table as `producer.images.pieces.piece.Pieces`."""

    def __init__(
        self, columns: Columns, preprocessing: Preprocessing, changes: Changes, allowance: Allowance
    ) -> None:
        """Check all labels and decode the first row.

        Args:
            columns: the table, and what is read of it.
            preprocessing: what is done to each picture.
            changes: counts what was changed and left out, at each reading.
            allowance: what they may need.

        Raises:
            ImageError: no rows, numbers that may be vectors or pictures, or as `check_labels` and `read`.
        """
        table, layout = self._table, self._layout = columns
        self._allowance = allowance
        self.name, self.count, self.column = table.name, sum(table.counts), layout.images
        self.is_bytes = layout.pixels is not None and layout.pixels.is_bytes
        allowance.images(1 if preprocessing.skip_unreadable else self.count)
        allowance.labels(self.count)
        with translate_pyarrow(self.name):
            self._labels, remark = check_labels(table, layout.labels, layout.classes, allowance.whole)
        self.labelled, self.classes = self._labels.column is not None, self._labels.classes
        changes.remarks.extend([*layout.remarks, *([] if remark is None else [remark])])
        self._columns = [layout.images, *([] if self._labels.column is None else [self._labels.column])]
        starts = accumulate(table.counts, initial=0)
        self.shards = tuple(Shard(path, start) for path, start in zip(table.paths, starts, strict=False))
        super().__init__(preprocessing, changes, "rows")
        self._refuse_doubtful(preprocessing.read_as)

    def read_labels(self) -> NDArray[np.int64] | None:
        """Return the label of each row, as `Pieces.read_labels` does."""
        column = self._labels.column
        if column is None:
            return None
        with translate_pyarrow(self.name):
            return np.concatenate(
                [
                    self._labels.read(batch.column(column), first, self.name)
                    for _, first, batch in self._table.batches([column], 0, self._allowance.whole)
                ]
            )

    def _read(
        self, first: int, preprocessing: Preprocessing, changes: Changes, at_a_time: int | None = None
    ) -> Iterator[Piece]:
        decoder = Decoder(self.name, preprocessing, changes, self._allowance)
        with translate_pyarrow(self.name):
            for shard, start, batch in self._table.batches(self._columns, first, self._allowance.whole):
                labels = None
                if self._labels.column is not None:
                    labels = self._labels.read(batch.column(self._labels.column), start, self.name)
                column = batch.column(self._layout.images)
                if self._layout.is_vectors or self._layout.pixels is not None:
                    rows = start + np.arange(len(batch), dtype=np.int64)
                    values = self._values(column, start, preprocessing, changes)
                    yield Piece(shard, rows, values, labels, None)
                    continue
                has_paths = self._layout.has_paths
                cells = read_cells(column, start, self.name, has_paths=has_paths)
                for decoded in decoder.read(cells, at_a_time):
                    own = None if labels is None else labels[decoded.rows - start]
                    names = tuple(cell.source for cell in decoded.entries) if has_paths else None
                    yield Piece(shard, decoded.rows, decoded.images, own, names)

    def _values(
        self, column: Any, start: int, preprocessing: Preprocessing, changes: Changes
    ) -> NDArray[np.uint8 | np.float32]:
        """Return the vectors or pixels in ``column``, whose first is that of row ``start``."""
        if self._layout.pixels is None:
            return read_vectors(column, start, self.name)
        return prepare(self._layout.pixels.read(column, start, self.name), preprocessing, changes)

    def _refuse_doubtful(self, read_as: ReadAs | None) -> None:
        """Raise ImageError if rows may be something else than they are read as, or than the user says."""
        is_vector = len(self.shape) == 1
        if read_as is ReadAs.VECTORS and not is_vector:
            raise ImageError(f"{self.name} holds pictures in column {self.column!r}: leave --as vectors out")
        if is_vector and read_as in (ReadAs.IMAGES, ReadAs.PICTURE):
            raise state_shape(self.name, self.column)
        kind = storage_type(self._table.schema.field(self.column).type)
        if is_vector and read_as is None and str(kind.value_type) == "uint8" and is_flattened(self.shape[0]):
            raise ImageError(
                f"{state_shape(self.name, self.column)}; or read them as vectors by --as vectors"
            )
