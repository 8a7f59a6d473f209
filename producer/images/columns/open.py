"""Finds the files of a data set in columns, and the columns to read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from producer.images.columns.layout import Columns, choose_columns, noted_features
from producer.images.columns.library import load_pyarrow, translate_pyarrow
from producer.images.columns.parquet import ParquetTable
from producer.images.columns.shards import choose_split, find_shards, shard_remark
from producer.images.stream import printable
from schema.errors import ImageError

if TYPE_CHECKING:
    from pathlib import Path

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
    if path.is_dir():
        paths = choose_split(path, find_shards(path), part)
    elif part is None:
        paths, remark = [path], shard_remark(path)
        changes.remarks.extend([] if remark is None else [remark])
    else:
        raise ImageError(
            f"{printable(path)} is one file without splits: leave {printable(part)!r} out, or give its folder"
        )
    name = printable(path) + (f":{printable(part)}" if part else "")
    load_pyarrow(name)
    with translate_pyarrow(name):
        table = ParquetTable(name, paths)
        return Columns(table, choose_columns(table.schema, noted_features(table.schema.metadata, name), name))
