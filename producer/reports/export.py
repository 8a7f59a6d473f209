"""Writes rows as CSV, JSON or Parquet: to standard output, or atomically to a file.

Spreadsheets open CSV, and would run a text that begins with ``=``, ``+``, ``-``, ``@``, a tab or a carriage
return as a formula (OWASP, "CSV Injection"). Such texts, which may come from names of files, get a leading
apostrophe. Numbers, JSON and Parquet are not changed.
"""

from __future__ import annotations

import csv
import json
import math
import sys
from collections.abc import Mapping
from datetime import date
from enum import Enum
from itertools import islice
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any, Literal, TextIO, get_args
from uuid import UUID

import numpy as np

from schema.errors import ParameterError
from schema.shapes import ImageArray

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    import pyarrow as pa
    from numpy.typing import NDArray

from producer.files import new_temporary, replacing

Format = Literal["csv", "json", "parquet"]

FORMATS: tuple[Format, ...] = get_args(Format)

FORMULA_SIGNS = ("=", "+", "-", "@", "\t", "\r")

ABOUT = "annealq"
"""Name of what a file says about its run."""

_PLAIN = frozenset({type(None), bool, int, str})

ROWS_PER_TABLE = 10_000
"""Python objects in memory at a time, in rows, before Arrow packs them."""


def guess_format(path: Path) -> Format:
    """Return the format that the suffix of ``path`` names; raise ParameterError if it names none."""
    suffix = path.suffix.lower().removeprefix(".")
    for format_name in FORMATS:
        if suffix == format_name:
            return format_name
    choices = ", ".join(f".{format_name}" for format_name in FORMATS)
    raise ParameterError(f"{path} has an unknown format: use one of {choices}, or name the format")


def write(
    rows: Iterable[Mapping[str, object]],
    columns: Sequence[str] | Mapping[str, type],
    path: Path | None,
    format: Format,  # noqa: A002 - as the command line calls it
    about: Mapping[str, object] | None = None,
) -> None:
    """Write ``columns`` of every row in ``rows`` to ``path``, in that order.

    Values are None, bool, int, float, str, enumerations, dates, paths, UUIDs, numpy scalars and arrays, and
    lists, tuples and mappings of those. NaN and infinities become null. In CSV null is an empty field, a
    nested value a cell of JSON. ``format`` csv and json are written row by row; JSON is one array of objects.
    An existing file is replaced once the new one is complete; on any error, also of ``rows``, it is not
    changed. None as ``path`` is standard output, whose errors are left to the caller.

    Where ``columns`` names types (bool, int, float or str), a Parquet file has these types in any case, also
    if all values are null. Otherwise types are those of the values. ``about`` is JSON under the key
    ``annealq`` of the metadata of a Parquet file; CSV and JSON, which are rows alone, have no place for it.

    Raises:
        ParameterError: Parquet to standard output or without pyarrow; the file cannot be created.
        DiskFull: no space left.
    """
    if path is None:
        if format == "parquet":
            raise ParameterError(
                "Parquet cannot be written to standard output: give a file name, or choose csv or json"
            )
        _write_text(rows, list(columns), sys.stdout, format)
        sys.stdout.flush()
    else:
        with replacing(path) as unfinished:
            _write_file(rows, columns, unfinished, format, about)


def write_temporary(
    rows: Iterable[Mapping[str, object]],
    columns: Mapping[str, type],
    format: Format,  # noqa: A002
    about: Mapping[str, object],
) -> Path:
    """Return a new temporary file, which the caller deletes, of ``rows`` as `write` writes them.

    Raises:
        DiskFull: no space is left for it; it names the folder.
    """
    with new_temporary() as path:
        _write_file(rows, columns, path, format, about)
    return path


def write_images(
    path: Path,
    images: ImageArray,
    labels: NDArray[np.integer] | None,
    about: Mapping[str, object],
) -> None:
    """Write ``images`` and ``labels`` (N,) to the .npz file ``path``, as `classify` reads them.

    Its array ``annealq`` is a text, ``about`` as JSON.

    Raises:
        ParameterError: the suffix is wrong, or the file cannot be created.
        DiskFull: no space left.
    """
    if path.suffix != ".npz":
        raise ParameterError(f"{path}: images are written as NAME.npz: use that suffix")
    arrays: dict[str, Any] = {"images": images, ABOUT: np.array(to_json(about))}
    if labels is not None:
        arrays["labels"] = labels
    with replacing(path) as unfinished, unfinished.open("wb") as file:
        np.savez(file, **arrays)


def _write_file(
    rows: Iterable[Mapping[str, object]],
    columns: Sequence[str] | Mapping[str, type],
    path: Path,
    kind: Format,
    about: Mapping[str, object] | None,
) -> None:
    if kind == "parquet":
        _write_parquet(rows, columns, path, about)
    else:
        with path.open("w", encoding="utf-8", newline="") as file:
            _write_text(rows, list(columns), file, kind)


def _write_text(
    rows: Iterable[Mapping[str, object]], columns: Sequence[str], file: TextIO, kind: Literal["csv", "json"]
) -> None:
    (_write_csv if kind == "csv" else _write_json)(rows, columns, file)


def _write_csv(rows: Iterable[Mapping[str, object]], columns: Sequence[str], file: TextIO) -> None:
    brief = csv.writer(file, lineterminator="\n")
    # Until Python 3.13 a lone carriage return is not quoted, and read back as the end of a line.
    quoted = csv.writer(file, lineterminator="\n", quoting=csv.QUOTE_ALL)
    brief.writerow(columns)
    for row in rows:
        cells = [_cell(row[column]) for column in columns]
        has_return = any(isinstance(cell, str) and "\r" in cell for cell in cells)
        (quoted if has_return else brief).writerow(cells)


def _write_json(rows: Iterable[Mapping[str, object]], columns: Sequence[str], file: TextIO) -> None:
    separator = "[\n"
    for row in rows:
        file.write(separator + to_json({column: row[column] for column in columns}))
        separator = ",\n"
    file.write("[]\n" if separator == "[\n" else "\n]\n")


def _write_parquet(
    rows: Iterable[Mapping[str, object]],
    columns: Sequence[str] | Mapping[str, type],
    path: Path,
    about: Mapping[str, object] | None,
) -> None:
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError as error:
        raise ParameterError(
            "Parquet needs pyarrow: pip install 'annealq[parquet]', or choose csv"
        ) from error
    types = columns if isinstance(columns, Mapping) else {}
    arrow_types = {bool: pa.bool_(), int: pa.int64(), float: pa.float64(), str: pa.string()}
    declared = [arrow_types[types[column]] if column in types else None for column in columns]
    metadata = None if about is None else {ABOUT: to_json(about)}
    tables = _tables(rows, columns, declared)
    if isinstance(columns, Mapping):
        schema = pa.schema(list(zip(columns, declared, strict=True)), metadata)
        with parquet.ParquetWriter(path, schema) as writer:
            for table in tables:
                writer.write_table(table)
        return
    # A column may be empty in one table and of numbers in the next: its type is known at the end.
    empty = pa.table([pa.nulls(0) for _ in columns], names=list(columns))
    table = pa.concat_tables([empty, *tables], promote_options="permissive")
    parquet.write_table(table.replace_schema_metadata(metadata), path)


def _tables(
    rows: Iterable[Mapping[str, object]], columns: Iterable[str], types: Sequence[pa.DataType | None]
) -> Iterator[pa.Table]:
    """Yield the ``columns`` of ``rows``, with ``types`` where they are known, so many rows at a time."""
    import pyarrow as pa

    remaining = iter(rows)
    while chunk := list(islice(remaining, ROWS_PER_TABLE)):
        arrays = [
            _array([row[column] for row in chunk], kind) for column, kind in zip(columns, types, strict=True)
        ]
        yield pa.table(arrays, names=list(columns))


def _array(values: list[object], kind: pa.DataType | None) -> pa.Array:
    """Return ``values`` as Arrow has them; NaN and infinities become null."""
    import pyarrow as pa
    from pyarrow import compute

    if kind == pa.float64():
        found = pa.array(values, kind, from_pandas=True)
        return compute.if_else(compute.is_finite(found), found, None)
    return pa.array([_plain(value) for value in values], kind)


def _cell(value: object) -> object:
    """Return the cell for ``value``; ``csv`` writes None as an empty field."""
    plain = _plain(value)
    if isinstance(plain, bool | list | dict):
        return json.dumps(plain, ensure_ascii=False, default=_iso)
    if isinstance(plain, str) and plain.startswith(FORMULA_SIGNS):
        return f"'{plain}"
    return _iso(plain) if isinstance(plain, date) else plain


def to_json(value: object) -> str:
    """Return ``value``, made of what `write` takes, as JSON; NaN and infinities become null."""
    return json.dumps(_plain(value), ensure_ascii=False, allow_nan=False, default=_iso)


def _iso(value: object) -> str:
    if not isinstance(value, date):
        raise TypeError(f"cannot export a {type(value).__name__}")
    return value.isoformat()


def _plain(value: object) -> object:
    """Return ``value`` made of None, bool, int, finite float, str, date, list and dict."""
    kind = type(value)
    if kind is float:
        return value if math.isfinite(value) else None  # type: ignore[arg-type]
    if kind in _PLAIN:  # nearly all; the comparisons below take ten times as long
        return value
    match value:
        case Enum():
            return _plain(value.value)
        case np.generic() | np.ndarray():
            return _plain(value.tolist())
        case float():
            return value if math.isfinite(value) else None
        case None | int() | str() | date():
            return value
        case PurePath() | UUID():
            return str(value)
        case Mapping():
            return {str(key): _plain(item) for key, item in value.items()}
        case list() | tuple():
            return [_plain(item) for item in value]
    raise TypeError(f"cannot export a {type(value).__name__}")
