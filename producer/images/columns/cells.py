"""Bytes of picture files in a column, as entries that are opened one after the other."""

from __future__ import annotations

import io
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np

from producer.images.limits import MAX_MEMBER_BYTES, format_bytes
from producer.images.stream import printable
from schema.errors import ImageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from contextlib import AbstractContextManager
    from typing import BinaryIO

_EMBED = (
    "embed the files: `from datasets.table import embed_table_storage`, then "
    "`data.with_format('arrow').map(embed_table_storage, batched=True)`"
)


class PictureCell:
    """The picture in one row, as `producer.images.pictures.entry.Entry`."""

    __slots__ = ("_data", "_path", "_row", "_table")

    def __init__(self, table: str, row: int, data: memoryview | None, path: str | None) -> None:
        """Take the bytes ``data`` of ``row`` of ``table``; ``path`` is a name of the picture in the table."""
        self._table, self._row, self._data, self._path = table, row, data, path

    @property
    def name(self) -> str:
        """Return the name of the row, for messages."""
        return f"{self._table} row {self._row:,}"

    @property
    def source(self) -> str:
        """Return what the table calls the picture, else its row."""
        return f"row {self._row:,}" if self._path is None else self._path

    def open(self) -> AbstractContextManager[BinaryIO]:
        """Open the bytes; raise ImageError if there are none or too many."""
        data = self._data
        if data is None and self._path is not None:
            raise ImageError(
                f"{self.name} names the file {self._path[:200]!r} instead of holding it, and files that a "
                f"table names are not read: {_EMBED}"
            )
        if data is None:
            raise ImageError(f"{self.name} has no picture: add or drop it")
        if len(data) > MAX_MEMBER_BYTES:
            raise ImageError(
                f"{self.name} has {format_bytes(len(data))}, more than "
                f"{format_bytes(MAX_MEMBER_BYTES)}: scale it down"
            )
        return nullcontext(io.BytesIO(data))


def read_cells(column: Any, first: int, name: str, *, has_paths: bool) -> Iterator[tuple[int, PictureCell]]:
    """Yield the pictures of the Arrow array ``column``, each with its row.

    Args:
        column: of bytes, or of structures with the field ``bytes``; checked by Arrow.
        first: the row of its first value.
        name: of the table, for messages.
        has_paths: the structures have the field ``path``.
    """
    is_struct = column.type.num_fields > 0
    data = _bytes(column.field("bytes") if is_struct else column)
    paths: Sequence[Any] = [None] * len(column)
    if has_paths:
        paths = _texts(column.field("path"), name)
    missing = column.is_null().to_pylist() if is_struct and column.null_count else None
    for k, (value, path) in enumerate(zip(data, paths, strict=True)):
        is_missing = missing is not None and missing[k]
        shown = None if path is None else printable(path)
        yield first + k, PictureCell(name, first + k, None if is_missing else value, shown)


def _bytes(column: Any) -> Iterator[memoryview | None]:
    """Yield the values of an array of bytes without copying them; None for those that are missing."""
    import pyarrow as pa

    kind = np.int64 if pa.types.is_large_binary(column.type) else np.int32
    _, places, values = column.buffers()
    if len(column) == 0 or places is None:
        return
    ends = np.frombuffer(places, kind)[column.offset : column.offset + len(column) + 1].tolist()
    data = memoryview(b"" if values is None else values)
    missing = column.is_null().to_pylist() if column.null_count else [False] * len(column)
    for k, is_missing in enumerate(missing):
        yield None if is_missing else data[ends[k] : ends[k + 1]]


def _texts(column: Any, name: str) -> list[Any]:
    try:
        texts: list[Any] = column.to_pylist()
    except UnicodeDecodeError as error:
        raise ImageError(f"{name} has a path that is not UTF-8: write it again") from error
    return texts
