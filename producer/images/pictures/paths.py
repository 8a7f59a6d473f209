"""Reads CSV of paths and labels: pictures in the folder of the file, one per line.

A header names the columns: ``path`` (or file, file_name, filename, image, image_path), ``label`` (or labels,
class, target, y), and ``split``. Without one, lines are a path, or a path and a label.
"""

from __future__ import annotations

import csv
from collections import Counter
from functools import partial
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, NamedTuple

from producer.images.arrays.table import is_number
from producer.images.limits import MAX_IMAGES
from producer.images.pictures.entry import SUFFIXES, ListedFile, Pictures, is_picture
from producer.images.pieces.numbering import number_texts
from producer.images.pieces.piece import Shard
from producer.images.stream import open_regular, open_stream, printable, refuse_exit
from schema.errors import ImageError
from schema.quantities import count_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path
    from typing import BinaryIO

    from producer.images.pieces.allowance import Allowance

PATHS = ("path", "file", "file_name", "filename", "image", "image_path")
LABELS = ("label", "labels", "class", "target", "y")
SPLIT = "split"
"""Names of columns, in any case; the first that a header has is taken."""

MOST_OFFERED = 8
"""Largest number of splits in a message."""

_LOOKED_AT = 2  # lines that tell whether a CSV is one of paths
_FIRST_BYTES = 2**16


class _Columns(NamedTuple):
    path: int
    label: int | None
    split: int | None


def is_path_table(path: Path) -> bool:
    """Return whether the first lines of the CSV ``path`` name a picture, or a column of paths."""
    with open_stream(path) as stream:
        start = stream.read(_FIRST_BYTES).decode("utf-8", "replace")
    lines = [line for line in start.splitlines() if line.strip()][:_LOOKED_AT]
    rows = [[field.strip(' "') for field in line.split(",")] for line in lines]
    if any(is_picture(field) for row in rows for field in row):
        return True
    column = _path_column(rows[0]) if len(rows) == _LOOKED_AT else None
    return column is not None and not is_number("".join(rows[1][column : column + 1]))


def _path_column(header: list[str]) -> int | None:
    names = [field.lower() for field in header]
    return next((names.index(each) for each in PATHS if each in names), None)


def open_path_table(path: Path, part: str | None, allowance: Allowance) -> Pictures:
    """Return the pictures that the CSV ``path`` names, with their labels, in its order.

    Args:
        path: of the CSV; the pictures are below its folder.
        part: only lines with this ``split``.
        allowance: what reading it may need.

    Raises:
        ImageError: no lines, lines of different lengths, no column of paths, a path out of the folder, labels
            that are missing in some, or splits of which none is named.
    """
    name = printable(path)
    with open_stream(path) as stream:
        rows = _rows(stream.text(allowance.text), name)
    columns, rows = _columns(rows, name)
    if columns.split is not None or part is not None:
        rows = _of_split(rows, columns.split, part, name)
        name += f":{printable(part)}" if part is not None else ""
    names = [row[columns.path] for row in rows]
    for number, each in enumerate(names):
        _check_path(each, f"{name} row {number:,}")
    allowance.names(len(rows))
    texts = None if columns.label is None else [row[columns.label] for row in rows]
    numbered = None if texts is None else number_texts(texts, name)
    return Pictures(
        name,
        len(names),
        partial(_entries, path.parent, names),
        None if numbered is None else numbered.labels,
        None if numbered is None else numbered.classes,
        [Shard(printable(path), 0)],
    )


def _rows(text: str, name: str) -> list[list[str]]:
    rows: list[list[str]] = []
    reader = csv.reader(text.splitlines(), strict=True)
    try:
        for row in filter(None, reader):
            if rows and len(row) != len(rows[0]):
                raise ImageError(
                    f"{name} has {count_text(len(row), 'value')} in line {reader.line_num:,} and "
                    f"{len(rows[0]):,} in the lines before: make them agree"
                )
            rows.append([field.strip() for field in row])
    except csv.Error as error:
        raise ImageError(f"{name} is not CSV ({error}): write it again") from error
    if not rows or len(rows) > MAX_IMAGES + 1:
        raise ImageError(f"{name} has {len(rows):,} lines, not 1 to {MAX_IMAGES:,}: split it or add some")
    return rows


def _columns(rows: list[list[str]], name: str) -> tuple[_Columns, list[list[str]]]:
    """Return which columns are read, and the rows below a header."""
    header = [field.lower() for field in rows[0]]
    if any(map(is_picture, rows[0])):
        if len(header) > 2 or not is_picture(rows[0][0]):
            raise ImageError(
                f"{name} has {len(header):,} columns without names: begin it with a header as `path,label`"
            )
        return _Columns(0, 1 if len(header) == 2 else None, None), rows
    if len(rows) < 2:
        raise ImageError(f"{name} holds no images: it has no lines after its header")
    path = _path_column(header)
    if path is None:
        _refuse_path(rows[0], header, name)
        path = next((column for column, field in enumerate(rows[1]) if is_picture(field)), 0)
    label = next((header.index(each) for each in LABELS if each in header), None)
    return _Columns(path, label, header.index(SPLIT) if SPLIT in header else None), rows[1:]


def _refuse_path(fields: list[str], header: list[str], name: str) -> None:
    """Raise ImageError if the first line, which names no picture, may be no header but a path as well."""
    found = next((field for field in fields if "/" in field or PurePosixPath(field).suffix), None)
    if found is not None and set(header).isdisjoint((*LABELS, SPLIT)):
        raise ImageError(
            f"{name} begins with {printable(found[:200])!r}, which is neither the name of a picture "
            f"({', '.join(sorted(SUFFIXES))}) nor a column's: begin it with a header as `path,label`, or "
            "remove the line"
        )


def _of_split(rows: list[list[str]], column: int | None, part: str | None, name: str) -> list[list[str]]:
    """Return the rows of the split ``part``; raise ImageError if there are none, or no split was named."""
    splits = Counter() if column is None else Counter(row[column] for row in rows)
    if part is None and len(splits) == 1:
        return rows
    if column is not None and part in splits:
        return [row for row in rows if row[column] == part]
    problem = "has several splits" if part is None else f"has no split called {printable(part)!r}"
    offered = ", ".join(printable(f"{name}:{split}") for split in sorted(splits)[:MOST_OFFERED])
    way_out = f"choose one of {offered}" if offered else f"it has no column {SPLIT!r}, leave it out"
    raise ImageError(f"{name} {problem}: {way_out}")


def _check_path(path: str, where: str) -> None:
    """Raise ImageError for a path that is absolute or leads out of the folder."""
    if not path or path.startswith(("/", "~")) or "://" in path or ".." in PurePosixPath(path).parts:
        raise ImageError(
            f"{where} names {printable(path[:200])!r}, which is not below the folder of the file: give "
            "paths relative to it"
        )


def _entries(folder: Path, names: Sequence[str], first: int) -> Iterator[ListedFile]:
    for name in names[first:]:
        path = folder / name
        yield ListedFile(printable(path), printable(name), partial(_open, path, folder))


def _open(path: Path, folder: Path) -> AbstractContextManager[BinaryIO]:
    refuse_exit(path, folder)
    return open_regular(path)
