"""Finds the files of a data set in columns, and the columns to read."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from producer.images.columns.files.arrow import ArrowTable, saved_splits
from producer.images.columns.files.parquet import ParquetTable
from producer.images.columns.layout import Columns, choose_columns, noted_features
from producer.images.columns.pyarrow_errors import load_pyarrow, translate_pyarrow
from producer.images.pieces.shards import PARQUET, choose_split, find_shards, shard_remark
from producer.images.stream import printable
from schema.errors import ImageError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from producer.images.columns.files.table import Table
    from producer.images.preprocessing import Changes


def open_parquet(path: Path, part: str | None, changes: Changes) -> Columns:
    """Return the Parquet file ``path``, or the files of the split ``part`` of a folder.

    Args:
        path: a file; a folder with Parquet files in it or in its folder `data`.
        part: name of a split; None: the only one.
        changes: receives a remark if the file is one of several shards.

    Raises:
        ImageError: no such split, or a file that is missing, damaged, hostile or not a table of images.
    """
    return _open(path, part, partial(find_shards, suffixes=PARQUET), ParquetTable, changes)


def open_arrow(path: Path, part: str | None, changes: Changes) -> Columns:
    """Return the Arrow stream ``path``, or the split ``part`` of a folder that `save_to_disk` wrote.

    The arguments are those of `open_parquet`; so is what is raised, and as `saved_splits`.
    """
    return _open(path, part, saved_splits, ArrowTable, changes)


def _open(
    path: Path,
    part: str | None,
    find: Callable[[Path], dict[str, list[Path]]],
    open_table: Callable[[str, Sequence[Path]], Table],
    changes: Changes,
) -> Columns:
    name = printable(path) + (f":{printable(part)}" if part else "")
    load_pyarrow(name)
    if path.is_dir():
        paths = choose_split(path, find(path), part)
    elif part is None:
        paths, remark = [path], shard_remark(path)
        changes.remarks.extend([] if remark is None else [remark])
    else:
        raise ImageError(
            f"{printable(path)} is one file without splits: leave {printable(part)!r} out, or give its folder"
        )
    with translate_pyarrow(name):
        table = open_table(name, paths)
        return Columns(table, choose_columns(table.schema, noted_features(table.schema.metadata, name), name))
