"""Reads where the column chunks of a Parquet file are, from the metadata at its end.

pyarrow ends the process (`std::terminate`, still in 26.0) when it is asked for the metadata of a column whose
types or histograms contradict the schema. A child process could be asked instead, but it would have to read
the footers of all shards before each reading, and `thrift` would be needed all the same, for page headers.
Layout: Parquet's parquet.thrift, `FileMetaData`.
"""

from __future__ import annotations

import os
from typing import BinaryIO, NamedTuple

from producer.images.columns.files.thrift import Compact, Damaged, Structure
from producer.images.limits import MAX_FOOTER_BYTES, format_bytes
from schema.errors import ImageError

MAGIC = b"PAR1"

# Fields of FileMetaData, RowGroup, ColumnChunk and ColumnMetaData.
_ROWS, _GROUPS = 3, 4
_COLUMNS, _GROUP_ROWS = 1, 3
_FILE, _METADATA = 1, 3
_PATH, _PACKED, _FIRST_PAGE, _DICTIONARY = 3, 7, 9, 11


class Chunk(NamedTuple):
    """The pages of one column in one row group: the parts of its name, its first byte, and its bytes."""

    column: tuple[str, ...]
    start: int
    size: int


class RowGroup(NamedTuple):
    """Rows that follow one another."""

    rows: int
    chunks: tuple[Chunk, ...]


class Footer(NamedTuple):
    """The metadata of a file, and their own bytes, which tell whether the file has changed."""

    groups: tuple[RowGroup, ...]
    raw: bytes

    @property
    def rows(self) -> int:
        """Return the number of rows of all groups."""
        return sum(group.rows for group in self.groups)


def read_footer(file: BinaryIO, name: str) -> Footer:
    """Return the metadata of the Parquet ``file``, which is seekable; ``name`` is for messages.

    Raises:
        ImageError: it is not Parquet, truncated or damaged, or its metadata are too large.
    """
    raw = _raw(file, name)
    try:
        fields = Compact(raw).structure()
        groups = tuple(_group(each) for each in _list(fields, _GROUPS))
        if _number(fields, _ROWS) != sum(group.rows for group in groups):
            raise Damaged("other rows than its groups")
    except (Damaged, UnicodeDecodeError) as error:
        raise ImageError(f"{name} has damaged metadata ({error}): fetch it again") from error
    return Footer(groups, raw)


def _raw(file: BinaryIO, name: str) -> bytes:
    size = file.seek(0, os.SEEK_END)
    file.seek(max(size - 8, 0))
    tail = file.read(8)
    length = int.from_bytes(tail[:4], "little")
    file.seek(0)
    if file.read(4) != MAGIC or tail[4:] != MAGIC or length > size - 12:
        raise ImageError(f"{name} is truncated or not Parquet (it does not end as one): fetch it again")
    if length > MAX_FOOTER_BYTES:
        raise ImageError(
            f"{name} has {format_bytes(length)} of metadata, more than {format_bytes(MAX_FOOTER_BYTES)}: "
            "write it again with larger row groups"
        )
    file.seek(size - 8 - length)
    return file.read(length)


def _group(fields: object) -> RowGroup:
    if not isinstance(fields, dict):
        raise Damaged("no row group")
    return RowGroup(_number(fields, _GROUP_ROWS), tuple(map(_chunk, _list(fields, _COLUMNS))))


def _chunk(fields: object) -> Chunk:
    metadata = fields.get(_METADATA) if isinstance(fields, dict) else None
    if not isinstance(fields, dict) or not isinstance(metadata, dict):
        raise Damaged("no metadata of a column")
    if _FILE in fields:
        raise Damaged("columns in other files")
    starts = [_number(metadata, _FIRST_PAGE)]
    if metadata.get(_DICTIONARY):
        starts.append(_number(metadata, _DICTIONARY))
    names = [part.decode() for part in _list(metadata, _PATH) if isinstance(part, bytes)]
    return Chunk(tuple(names), min(starts), _number(metadata, _PACKED))


def _list(fields: Structure, number: int) -> list[object]:
    found = fields.get(number)
    if not isinstance(found, list):
        raise Damaged("no list where one must be")
    return found


def _number(fields: Structure, number: int) -> int:
    found = fields.get(number)
    if not isinstance(found, int) or found < 0:
        raise Damaged("no number where one must be")
    return found
