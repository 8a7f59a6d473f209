"""Finds the messages of an Arrow IPC stream, and refuses those that would be unpacked.

Layout: arrow.apache.org, "IPC Streaming Format", and Message.fbs in the encoding of FlatBuffers. Only what
must be known before pyarrow reads a message is read here.
"""

from __future__ import annotations

import os
import struct
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from producer.images.limits import MAX_FOOTER_BYTES, MAX_GROUP_BYTES, format_bytes
from schema.errors import ImageError

if TYPE_CHECKING:
    from collections.abc import Iterator

FILE_MAGIC = b"ARROW1"

_CONTINUED = b"\xff\xff\xff\xff"
_SCHEMA, _RECORD_BATCH = 1, 3  # kinds of messages
_KIND, _HEADER, _BODY = 1, 2, 3  # fields of a message
_ROWS, _COMPRESSION = 0, 3  # fields of a record batch
_HINT = "load it with `datasets` and write Parquet: data.to_parquet(path)"


class SavedBatch(NamedTuple):
    """A record batch in a file: its first byte, its bytes with all that belongs to it, and its rows."""

    start: int
    size: int
    rows: int


def find_messages(file: BinaryIO, name: str) -> tuple[bytes, list[SavedBatch]]:
    """Return the bytes of the schema's message, and the record batches of the stream in ``file``.

    Args:
        file: seekable.
        name: for messages.

    Raises:
        ImageError: not such a stream, truncated or damaged; a batch that is compressed or too large;
            dictionaries.
    """
    end = file.seek(0, os.SEEK_END)
    file.seek(0)
    if file.read(len(FILE_MAGIC)) == FILE_MAGIC:
        raise ImageError(f"{name} is an Arrow file, not a stream as `save_to_disk` writes it: {_HINT}")
    try:
        kinds, messages = zip(*_messages(file, end, name), strict=True)
    except (struct.error, IndexError, ValueError) as error:
        raise ImageError(f"{name} is truncated or not an Arrow stream: fetch it again") from error
    if kinds[0] != _SCHEMA or any(kind != _RECORD_BATCH for kind in kinds[1:]):
        raise ImageError(f"{name} holds other messages than one schema and its rows: {_HINT}")
    file.seek(0)
    return file.read(messages[0].size), list(messages[1:])


def _messages(file: BinaryIO, end: int, name: str) -> Iterator[tuple[int, SavedBatch]]:
    """Yield the kind and the place of each message."""
    start = 0
    while start < end:
        file.seek(start)
        head = file.read(8)
        (length,) = struct.unpack_from("<i", head, 4)
        if head[:4] != _CONTINUED or not 0 <= length <= MAX_FOOTER_BYTES:
            raise ValueError
        if length == 0:
            return  # the end of the stream
        message = _Flat(file.read(length))
        kind, (body,) = message.byte(_KIND), message.numbers("<q", _BODY)
        size = 8 + length + body
        if body < 0 or start + size > end:
            raise ValueError
        yield kind, SavedBatch(start, size, _rows(message, size, name) if kind == _RECORD_BATCH else 0)
        start += size


def _rows(message: _Flat, size: int, name: str) -> int:
    batch = message.table(_HEADER)
    if batch.has(_COMPRESSION):
        raise ImageError(f"{name} is compressed, as `save_to_disk` never writes it: {_HINT}")
    if size > MAX_GROUP_BYTES:
        raise ImageError(
            f"{name} has a batch of {format_bytes(size)}, more than {format_bytes(MAX_GROUP_BYTES)}: {_HINT}"
        )
    (rows,) = batch.numbers("<q", _ROWS)
    if rows < 0:
        raise ValueError
    return int(rows)


class _Flat:
    """A table of FlatBuffers; raises struct.error, IndexError or ValueError where the bytes are damaged."""

    def __init__(self, data: bytes, place: int | None = None) -> None:
        self._data = data
        self._place: int = struct.unpack_from("<I", data)[0] if place is None else place
        self._fields = self._place - struct.unpack_from("<i", data, self._place)[0]
        if self._fields < 0:
            raise ValueError
        (self._size,) = struct.unpack_from("<H", data, self._fields)

    def _offset(self, field: int) -> int:
        slot = 4 + 2 * field
        return struct.unpack_from("<H", self._data, self._fields + slot)[0] if slot < self._size else 0

    def has(self, field: int) -> bool:
        return self._offset(field) != 0

    def byte(self, field: int) -> int:
        return self._data[self._place + self._offset(field)] if self.has(field) else 0

    def numbers(self, kind: str, field: int) -> tuple[int, ...]:
        return (
            struct.unpack_from(kind, self._data, self._place + self._offset(field))
            if self.has(field)
            else (0,)
        )

    def table(self, field: int) -> _Flat:
        if not self.has(field):
            raise ValueError
        place = self._place + self._offset(field)
        return _Flat(self._data, place + struct.unpack_from("<I", self._data, place)[0])
