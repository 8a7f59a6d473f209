"""Reads CSV of pixels or of vectors, one image per line, with or without a header and a label.

With a header, the column ``label`` (or labels, class, target, y) holds labels and all others are pixels.
Without one, N x N columns are pixels and N x N + 1 are a label and pixels. Images are square, row by row.
Other numbers of columns, with fractions among them, are vectors, and so is every line if the user says so.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from producer.images.limits import MAX_BYTES, MAX_IMAGES, format_bytes
from producer.images.stream import open_stream, printable
from schema.errors import ImageError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from producer.images.pieces.allowance import Allowance
    from producer.images.preprocessing import Changes

LABELS = ("label", "labels", "class", "target", "y")
"""Names of a column of labels, in any case; the first that a header has is taken."""

MAX_LABELS = 256
"""Largest number of different values of a column that may hold labels."""

DTYPES = (np.uint8, np.int64, np.float64)
"""Tried in turn: the first takes an eighth of the memory of the others."""


_SUFFIX = re.compile(r"\.[A-Za-z]\w*$")  # of the name of a file


class _Table(NamedTuple):
    """(R, C) values of one of ``DTYPES``; the header's fields in lower case."""

    values: NDArray[np.generic]
    header: list[str] | None


def read_table(
    path: Path, changes: Changes, allowance: Allowance | None = None, *, is_vectors: bool = False
) -> tuple[NDArray[np.generic], NDArray[np.generic] | None]:
    """Return the pixels (N, H, H) or vectors (N, D) in ``path``, of one of ``DTYPES``, and its labels (N,).

    Args:
        path: of the file.
        changes: receives a remark on labels whose column is called otherwise, or may be another.
        allowance: what it may need.
        is_vectors: lines are vectors; then only a header tells which column holds labels.

    Raises:
        ImageError: no lines, too many, a field that is not a number, lines of different lengths, or a number
            of columns that does not make a square image, if all values are whole numbers.
    """
    table = _parse(path, allowance)
    column = _named_label(table) if is_vectors else _label_column(table)
    labels = None if column is None else table.values[:, column]
    if column is not None and table.header is not None and table.header[column] != LABELS[0]:
        changes.remarks.append(f"labels are those of column {table.header[column]!r}")
    if column == 0 and table.header is None:
        changes.remarks.extend(_doubts(table.values))
    pixels = table.values if column is None else np.delete(table.values, column, axis=1)
    if is_vectors:
        return pixels, labels
    side = math.isqrt(pixels.shape[1])
    is_square = side > 0 and side * side == pixels.shape[1]
    if not is_square and pixels.dtype == np.float64:
        return pixels, labels
    if not is_square:
        raise ImageError(
            f"{printable(path)} has {table.values.shape[1]:,} columns, which do not make a square image: "
            "give N x N pixels, with a label first or in a column called 'label', or read them as vectors by "
            "--as vectors (over HTTP: as)"
        )
    return pixels.reshape(-1, side, side), labels


def read_label_table(path: Path, allowance: Allowance | None = None) -> NDArray[np.generic]:
    """Return the (N,) labels in ``path``: its only column, or the one called ``label``.

    Raises:
        ImageError: as ``read_table``, or several columns and none called ``label``.
    """
    table = _parse(path, allowance)
    named = _named_label(table)
    if named is None and table.values.shape[1] != 1:
        raise ImageError(
            f"{printable(path)} has {table.values.shape[1]:,} columns: give one label per line, "
            "or a column called 'label'"
        )
    return table.values[:, named or 0]


def _named_label(table: _Table) -> int | None:
    header = table.header or []
    return next((header.index(name) for name in LABELS if name in header), None)


def _doubts(values: NDArray[np.generic]) -> list[str]:
    """Return a warning if the first of the columns has one value only, and the last may hold labels."""
    first, last = np.unique(values[:, 0]), np.unique(values[:, -1])
    if len(values) == 1 or len(first) > 1 or not 1 < len(last) <= MAX_LABELS:
        return []
    return [
        f"warning: labels are taken from the first column, which is {first[0]:g} in every line; if the last "
        "column holds them, begin the file with a header that calls it 'label'"
    ]


def _label_column(table: _Table) -> int | None:
    if table.header is not None:
        return _named_label(table)
    pixels = table.values.shape[1] - 1
    return 0 if pixels > 0 and math.isqrt(pixels) ** 2 == pixels else None


def _parse(path: Path, allowance: Allowance | None = None) -> _Table:
    name = printable(path)
    with open_stream(path) as stream:
        lines = stream.text(None if allowance is None else allowance.text).splitlines()
    first = next((row for row, line in enumerate(lines) if line.strip()), None)
    if first is None:
        raise ImageError(f"{name} holds no images: it has no lines")
    header = _header(lines[first])
    start = first if header is None else first + 1
    _check_size(lines[first], len(lines) - start, name)
    if not any(line.strip() for line in lines[start:]):
        raise ImageError(f"{name} holds no images: it has no lines after its header")
    values = _numbers(lines, start, name)
    if header is not None and len(header) != values.shape[1]:
        raise ImageError(
            f"{name} has {len(header):,} columns in its header and {values.shape[1]:,} in the lines below: "
            "make them agree"
        )
    return _Table(values, header)


def _header(line: str) -> list[str] | None:
    """Return the fields of a header, one of which is in ``LABELS`` or none of which is a number, or None."""
    fields = _fields(line.lower())
    if not set(LABELS).isdisjoint(fields) or not any(is_number(field) for field in fields):
        return fields
    return None


def _check_size(line: str, rows: int, name: str) -> None:
    needed = rows * (line.count(",") + 1) * np.dtype(np.float64).itemsize
    if rows > MAX_IMAGES or needed > MAX_BYTES:
        raise ImageError(
            f"{name} has {rows:,} lines, {format_bytes(needed)}, more than {MAX_IMAGES:,} lines or "
            f"{format_bytes(MAX_BYTES)}: split it or save it as .npz"
        )


def _numbers(lines: list[str], start: int, name: str) -> NDArray[np.generic]:
    """Return (R, C) of the first of ``DTYPES`` that holds every value; blank lines are skipped."""
    for dtype in DTYPES:
        try:
            return np.loadtxt(lines[start:], dtype, delimiter=",", comments=None, quotechar='"', ndmin=2)
        except ValueError as error:
            problem = str(error)
    _refuse_line(lines, start, name)
    raise ImageError(f"{name} is not a table of numbers: {printable(problem)}")


def _refuse_line(lines: list[str], start: int, name: str) -> None:
    """Raise ImageError for the first faulty line, if any."""
    columns = None
    for row, line in enumerate(lines[start:], start=start + 1):
        if not line.strip():
            continue
        fields = _fields(line)
        columns = columns or len(fields)
        if len(fields) != columns:
            raise ImageError(
                f"{name} has {len(fields):,} values in line {row:,} and {columns:,} in the lines before: "
                "make them agree"
            )
        wrong = next((column for column, field in enumerate(fields) if not is_number(field)), None)
        if wrong is not None:
            what = repr(printable(fields[wrong])[:40])
            raise ImageError(
                f"{name} has {what} in line {row:,}, column {wrong + 1:,}: {_remedy(fields[wrong])}"
            )


def _remedy(field: str) -> str:
    """Return what to write instead of ``field``, which is not a number."""
    if any(is_number(part) for separator in (";", "\t") for part in field.split(separator)):
        return "separate numbers by commas"
    if "/" in field or _SUFFIX.search(field):
        return (
            "give a number; a CSV of pictures begins with a header as `path,label`, or with the name of one, "
            "as in cat.png"
        )
    return "give a number"


def _fields(line: str) -> list[str]:
    return [field.strip().strip('"').strip() for field in line.split(",")]


def is_number(field: str) -> bool:
    """Return whether ``field`` is a number as Python writes it."""
    try:
        float(field)
    except ValueError:
        return False
    return True
