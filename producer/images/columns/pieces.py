"""Rows of a table -> pieces of decoded pictures or of vectors, with their labels."""

from __future__ import annotations

import io
from contextlib import nullcontext
from dataclasses import replace
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import numpy as np

from producer.images.columns.labels import check_labels
from producer.images.columns.library import translate_pyarrow
from producer.images.columns.vectors import read_vectors
from producer.images.limits import MAX_MEMBER_BYTES, format_bytes
from producer.images.pictures.decoding import Decoder
from producer.images.pictures.entry import Entry
from producer.images.pieces.piece import Piece, Shard
from producer.images.preprocessing import Changes, LaterColourError
from producer.images.stream import printable
from schema.errors import ImageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager
    from typing import BinaryIO

    from producer.images.columns.layout import Columns
    from producer.images.pieces.allowance import Allowance
    from producer.images.preprocessing import Preprocessing

_EMBED = (
    "embed the files: `from datasets.table import embed_table_storage`, then "
    "`data.with_format('arrow').map(embed_table_storage, batched=True)`"
)


class ColumnPieces:
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
            ImageError: no rows, or as `check_labels` and `read`.
        """
        table, layout = self._table, self._layout = columns
        self._preprocessing, self._changes, self._allowance = preprocessing, changes, allowance
        self.name, self.count, self.column = table.name, sum(table.counts), layout.images
        allowance.images(1 if preprocessing.skip_unreadable else self.count)
        allowance.labels(self.count)
        with translate_pyarrow(self.name):
            self._labels, remark = check_labels(table, layout.labels, layout.classes, allowance.whole)
        self.labelled, self.classes = self._labels.column is not None, self._labels.classes
        changes.remarks.extend([*layout.remarks, *([] if remark is None else [remark])])
        self._columns = [layout.images, *([] if self._labels.column is None else [self._labels.column])]
        starts = accumulate(table.counts, initial=0)
        self.shards = tuple(Shard(path, start) for path, start in zip(table.paths, starts, strict=False))
        first = next(self._read(0, Changes()), None)
        if first is None:
            raise ImageError(f"{self.name} has no rows that can be read: remove or repair them")
        self.shape, self.dtype = first.images.shape[1:], first.images.dtype
        if len(self.shape) == 3:
            self._preprocessing = replace(preprocessing, colour=True)

    def read(self, first: int = 0) -> Iterator[Piece]:
        """Yield the rows from number ``first`` on, as `Pieces.read` does."""
        for piece in self._read(first, self._changes):
            if piece.images.ndim > 1 + len(self.shape) > 2:
                raise LaterColourError(f"{self.name} row {piece.rows[0]:,}")
            if piece.images.shape[1:] != self.shape:
                sizes = [" x ".join(map(str, shape)) for shape in (self.shape, piece.images.shape[1:])]
                raise ImageError(
                    f"{self.name} has {sizes[0]} values in its first row and {sizes[1]} in row "
                    f"{piece.rows[0]:,}: give all rows one size; --resize 28 scales pictures"
                )
            yield piece

    def _read(self, first: int, changes: Changes) -> Iterator[Piece]:
        """Yield the rows from number ``first`` on, of any shape; ``changes`` counts them."""
        decoder = Decoder(self.name, self._preprocessing, changes, self._allowance)
        with translate_pyarrow(self.name):
            yield from self._decoded(first, decoder)

    def _decoded(self, first: int, decoder: Decoder) -> Iterator[Piece]:
        for shard, start, batch in self._table.batches(self._columns, first, self._allowance.whole):
            labels = None
            if self._labels.column is not None:
                labels = self._labels.read(batch.column(self._labels.column), start, self.name)
            column = batch.column(self._layout.images)
            if self._layout.is_vectors:
                rows = start + np.arange(len(batch), dtype=np.int64)
                yield Piece(shard, rows, read_vectors(column, start, self.name), labels, None)
                continue
            for decoded in decoder.read(self._entries(column, start)):
                own = None if labels is None else labels[decoded.rows - start]
                names = decoded.names if self._layout.has_paths else None
                yield Piece(shard, decoded.rows, decoded.images, own, names)

    def _entries(self, column: Any, start: int) -> Iterator[tuple[int, Entry]]:
        """Yield the pictures of ``column``, whose first is that of row ``start``."""
        is_struct = column.type.num_fields > 0
        data = column.field("bytes") if is_struct else column
        paths = column.field("path") if self._layout.has_paths else None
        for k in range(len(column)):
            row = start + k
            path = None if paths is None else _path(paths[k], row, self.name)
            source = f"row {row:,}" if path is None else path
            is_missing = is_struct and not column[k].is_valid
            opened = _Opener(None if is_missing else data[k].as_buffer(), f"{self.name} row {row:,}", path)
            yield row, Entry(f"{self.name} row {row:,}", source, opened)


class _Opener:
    """Opens the bytes of a picture, if there are any."""

    def __init__(self, data: Any, name: str, path: str | None) -> None:
        self._data, self._name, self._path = data, name, path

    def __call__(self) -> AbstractContextManager[BinaryIO]:
        if self._data is None and self._path is not None:
            raise ImageError(
                f"{self._name} names the file {self._path[:200]!r} instead of holding it, and files that a "
                f"table names are not read: {_EMBED}"
            )
        if self._data is None:
            raise ImageError(f"{self._name} has no picture: add or drop it")
        if len(self._data) > MAX_MEMBER_BYTES:
            raise ImageError(
                f"{self._name} has {format_bytes(len(self._data))}, more than "
                f"{format_bytes(MAX_MEMBER_BYTES)}: scale it down"
            )
        return nullcontext(io.BytesIO(self._data))


def _path(value: Any, row: int, name: str) -> str | None:
    try:
        path = value.as_py()
    except UnicodeDecodeError as error:
        raise ImageError(f"{name} has a path that is not UTF-8 in row {row:,}: write it again") from error
    return None if path is None else printable(path)
