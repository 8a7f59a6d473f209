"""Walks the page headers of a column chunk, so that no page is unpacked that is too large.

pyarrow allocates what a page header announces, whatever the metadata at the end of the file say. Layout:
Parquet's parquet.thrift, `PageHeader`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from producer.images.columns.files.thrift import Compact, Damaged, Ended, Structure
from producer.images.limits import MAX_PAGE_BYTES, MAX_PAGES, format_bytes
from schema.errors import ImageError

if TYPE_CHECKING:
    from collections.abc import Iterator

_FIRST_READ = 512  # bytes; nearly all headers are shorter
_LONGEST_HEADER = 2**20  # with statistics, which pyarrow bounds by default to 4 KiB a value

# Fields of PageHeader, and of the headers in it.
_UNPACKED, _PACKED, _DATA_PAGE, _DATA_PAGE_V2 = 2, 3, 5, 8
_VALUES, _ENCODING, _ENCODING_V2 = 1, 2, 4

# Encodings whose values may be larger than their share of the page: those of a dictionary, and those that
# repeat the beginning of the value before.
_BY_DICTIONARY, _BY_PREFIX = (2, 8), 7


class Page(NamedTuple):
    """What a page header announces: bytes after and before unpacking, values and encoding of a data page."""

    unpacked: int
    packed: int
    values: int
    encoding: int | None


class PageSizes(NamedTuple):
    """Of all pages of a column chunk: bytes of the largest, number of values, and bytes that one may have.

    Values that are stored one after the other have ``value`` bytes on average, in each page; others may have
    as many each.
    """

    largest: int
    values: int
    value: int


def check_pages(file: BinaryIO, start: int, size: int, name: str) -> PageSizes:
    """Return the sizes of the pages of a column chunk.

    Args:
        file: seekable, of the whole Parquet file.
        start: of the column chunk in it.
        size: bytes of the column chunk.
        name: for messages.

    Raises:
        ImageError: a header is damaged, or announces more than ``MAX_PAGE_BYTES``; too many pages.
    """
    largest = values = value = dictionary = 0
    for count, page in enumerate(_pages(file, start, size, name), start=1):
        if page.unpacked > MAX_PAGE_BYTES:
            raise ImageError(
                f"{name} has a page that unpacks to {format_bytes(page.unpacked)}, more than "
                f"{format_bytes(MAX_PAGE_BYTES)}: write it again with smaller pages, pictures scaled down"
            )
        if count > MAX_PAGES:
            raise ImageError(f"{name} has more than {MAX_PAGES:,} pages in a row group: write it again")
        largest, values = max(largest, page.unpacked), values + page.values
        if page.encoding is None:
            dictionary = page.unpacked
        elif page.encoding in _BY_DICTIONARY:
            value = max(value, dictionary or largest)
        elif page.encoding == _BY_PREFIX:
            value = max(value, page.unpacked)
        else:
            value = max(value, -(-page.unpacked // max(page.values, 1)))
    return PageSizes(largest, values, value)


def _pages(file: BinaryIO, start: int, size: int, name: str) -> Iterator[Page]:
    end = start + size
    while start < end:
        page, length = _page_at(file, start, min(end - start, _LONGEST_HEADER), name)
        start += length + page.packed
        yield page


def _data(fields: Structure) -> tuple[int, int | None]:
    """Return the number of values of a data page and their encoding; 0 and None for other pages."""
    for header, encoding in ((_DATA_PAGE, _ENCODING), (_DATA_PAGE_V2, _ENCODING_V2)):
        found = fields.get(header)
        if isinstance(found, dict):
            values, kind = found.get(_VALUES), found.get(encoding)
            return values if isinstance(values, int) else 0, kind if isinstance(kind, int) else _BY_PREFIX
    return 0, None


def _page_at(file: BinaryIO, start: int, most: int, name: str) -> tuple[Page, int]:
    """Return the page whose header begins at ``start``, and the bytes of the header, ``most`` at most."""
    for wanted in (min(_FIRST_READ, most), most):
        file.seek(start)
        reader = Compact(file.read(wanted))
        try:
            fields = reader.structure()
        except Ended:
            continue  # the header is longer than what was read
        except Damaged:
            break
        unpacked, packed = fields.get(_UNPACKED), fields.get(_PACKED)
        if not isinstance(unpacked, int) or not isinstance(packed, int) or min(unpacked, packed) < 0:
            break
        return Page(unpacked, packed, *_data(fields)), reader.place
    raise ImageError(f"{name} has a damaged page header at byte {start:,}: fetch or write it again")
