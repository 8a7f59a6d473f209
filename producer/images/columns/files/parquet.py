"""Reads the rows of Parquet files in small batches, whatever their pages hold."""

from __future__ import annotations

from contextlib import contextmanager
from itertools import accumulate
from typing import TYPE_CHECKING, Any, BinaryIO

from producer.images.columns.files.footer import Footer, RowGroup, read_footer
from producer.images.columns.files.pages import check_pages
from producer.images.columns.pyarrow_errors import translate_pyarrow
from producer.images.limits import MAX_GROUP_BYTES, format_bytes
from producer.images.stream import open_regular, printable
from schema.errors import ImageError
from schema.quantities import count_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

BATCH_BYTES = 16 * 2**20
"""Bytes that the values of a batch may expand to; a batch has one row at least."""

MOST_ROWS = 256
"""Rows of a batch: more of them are not read faster."""

_BUFFER_BYTES = 2**16  # of each column that is read; without it pyarrow reads whole column chunks
_VALUE_BYTES = 8  # of the widest number


class ParquetTable:
    """The rows of one or several Parquet files of the same columns, one after the other."""

    def __init__(self, name: str, paths: Sequence[Path]) -> None:
        """Read the metadata of all files in ``paths``, in the order of their rows.

        Raises:
            ImageError: a file is not Parquet or damaged, or columns differ.
        """
        self.name, self._files = name, tuple(paths)
        self.paths = tuple(map(printable, paths))
        self.schema: Any = None
        footers: list[Footer] = []
        for path in paths:
            with _opened(path) as (_, footer, parquet):
                if footers and not parquet.schema_arrow.equals(self.schema):
                    raise ImageError(
                        f"{printable(path)} has other columns than {self.paths[0]}: give files of one set"
                    )
                self.schema = parquet.schema_arrow
                footers.append(footer)
        self._footers = tuple(footers)
        self.counts = tuple(footer.rows for footer in footers)

    def batches(
        self, columns: list[str], first: int, announce: Callable[[int], None]
    ) -> Iterator[tuple[int, int, Any]]:
        """Yield small record batches of ``columns`` from row ``first`` on, as `Table.batches` does."""
        starts = list(accumulate(self.counts, initial=0))
        for shard, (path, footer) in enumerate(zip(self._files, self._footers, strict=True)):
            if starts[shard + 1] <= first:
                continue
            name = printable(path)
            with _opened(path) as (file, found, parquet):
                if found.raw != footer.raw:
                    raise ImageError(f"{name} changed while it was read: try again")
                reader = _Reader(file, parquet, footer, columns, name, announce)
                for row, batch in reader.read(max(first - starts[shard], 0)):
                    yield shard, starts[shard] + row, batch


class _Reader:
    """Reads columns of one open file."""

    def __init__(
        self,
        file: BinaryIO,
        parquet: Any,
        footer: Footer,
        columns: list[str],
        name: str,
        announce: Callable[[int], None],
    ) -> None:
        self._file, self._parquet, self._footer = file, parquet, footer
        self._columns, self._name, self._announce = columns, name, announce

    def read(self, first: int) -> Iterator[tuple[int, Any]]:
        """Yield record batches from row ``first`` of the file on, each with its first row."""
        start = 0
        for number, group in enumerate(self._footer.groups):
            if first < start + group.rows:
                yield from self._read_group(number, group, start, first)
            start += group.rows

    def _read_group(self, number: int, group: RowGroup, start: int, first: int) -> Iterator[tuple[int, Any]]:
        """Yield record batches of a row group, whose first row is ``start``, from row ``first`` on."""
        row, size = start, self._batch_rows(group)
        for batch in self._parquet.iter_batches(size, [number], self._columns, use_threads=False):
            batch.validate(full=True)  # texts that are not UTF-8, for example
            after = row + len(batch)
            if first < after and len(batch):
                yield max(first, row), batch.slice(max(first - row, 0))
            row = after
        if row - start != group.rows:
            raise ImageError(
                f"{self._name} announces {count_text(group.rows, 'row')} in row group {number} and has "
                f"{row - start:,}: fetch it again"
            )

    def _batch_rows(self, group: RowGroup) -> int:
        """Return the rows of a batch, whose values then have ``BATCH_BYTES`` or are those of one row.

        A value may be as large as a page: that of a dictionary for example, to which any number of rows may
        refer.
        """
        largest = value = 1
        most = 0
        for chunk in group.chunks:
            # pyarrow takes a name with dots for a path.
            if any(f"{'.'.join(chunk.column)}.".startswith(f"{column}.") for column in self._columns):
                sizes = check_pages(self._file, chunk.start, chunk.size, self._name)
                largest, value = max(largest, sizes.largest), max(value, sizes.value)
                most = max(most, sizes.values)
        if most > group.rows and most * _VALUE_BYTES > MAX_GROUP_BYTES:
            raise ImageError(
                f"{self._name} has a row group of {most:,} values in lists, more than "
                f"{format_bytes(MAX_GROUP_BYTES)}: write it with row_group_size=10_000"
            )
        in_row = most // max(group.rows, 1) * _VALUE_BYTES
        rows = min(max(BATCH_BYTES // max(value, in_row), 1), MOST_ROWS)
        self._announce(3 * len(self._columns) * largest + max(rows * value, most * _VALUE_BYTES))
        return rows


@contextmanager
def _opened(path: Path) -> Iterator[tuple[BinaryIO, Footer, Any]]:
    """Open a Parquet file; raise ImageError if it is damaged or its metadata are too large."""
    import pyarrow.parquet

    name = printable(path)
    with translate_pyarrow(name), open_regular(path) as file:
        footer = read_footer(file, name)
        file.seek(0)
        yield file, footer, pyarrow.parquet.ParquetFile(file, buffer_size=_BUFFER_BYTES, pre_buffer=False)
