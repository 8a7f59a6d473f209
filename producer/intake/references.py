"""Lets batches name rows of files instead of holding their images."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from producer.images.columns.pieces import ColumnPieces
from producer.images.pieces.npy import NpyPieces
from producer.intake.source import LargeSource, Part
from schema.codecs.batches import BatchRow
from schema.errors import ImageError
from schema.shapes import ImageShape
from schema.shards.reference import ShardFormat, ShardRows

_WAY_OUT = "leave --by-reference out"


def refuse_unnamed(source: LargeSource) -> None:
    """Raise ImageError if batches cannot name the rows of ``source``."""
    if not isinstance(source.pieces, NpyPieces | ColumnPieces):
        raise ImageError(
            f"{source.name}: batches name rows of .npy and Parquet files only: convert it, or {_WAY_OUT}"
        )
    if isinstance(source.pieces, ColumnPieces) and any(
        not shard.path.endswith(".parquet") for shard in source.pieces.shards
    ):
        raise ImageError(f"{source.name} is no Parquet file: convert it, or {_WAY_OUT}")
    if isinstance(source.pieces, ColumnPieces) and source.pieces.is_bytes:
        raise ImageError(
            f"{source.name} holds pixels as bytes, whose shape workers do not know: write them as lists, or "
            f"{_WAY_OUT}"
        )
    if source.stored is not None:
        raise ImageError(f"{source.name} is in an object store, which workers do not read: {_WAY_OUT}")
    origin = source.origin
    if origin.resize is not None or origin.invert or origin.scale_pixels or origin.skip_unreadable:
        raise ImageError(
            f"{source.name}: rows are named as they are, and none can be resized, inverted, scaled or left "
            f"out: {_WAY_OUT}"
        )


def shard_of(source: LargeSource, group: Part, matching: Part) -> ShardRows:
    """Return the rows of ``group``, of ``source``, in their file; ``matching`` has what the network takes.

    Raises:
        ImageError: the images had to be changed for the network.
    """
    if matching.images.images is not group.images.images:
        raise ImageError(
            f"{source.name}: images are converted for this network, but rows are named as they are: "
            f"{_WAY_OUT}"
        )
    shard = source.pieces.shards[group.shard]
    path = Path(shard.path).absolute()
    size = path.stat().st_size
    first = int(group.rows[0]) - shard.first
    if isinstance(source.pieces, ColumnPieces):
        return ShardRows(str(path), ShardFormat.PARQUET, size, first, source.pieces.column)
    return ShardRows(str(path), ShardFormat.NPY, size, first)


def named_batch(batch: BatchRow, offset: int, shard: ShardRows) -> BatchRow:
    """Return ``batch``, which begins ``offset`` rows after ``shard``, with its rows named.

    They are read as a worker reads them, and compared.

    Raises:
        ShardError: the file is in no allowed folder, or a picture must be converted, as workers do not.
        ImageError: what workers would read differs.
    """
    rows = replace(shard, first=shard.first + offset)
    shape = ImageShape.parse(batch.row["shape"], batch.row["dtype"])
    if rows.read(batch.row["count"], shape) != batch.images["images"]:
        last = rows.first + batch.row["count"] - 1
        raise ImageError(
            f"{shard.path}: pictures of rows {rows.first:,} to {last:,} are converted when they are read, "
            f"which workers do not do: {_WAY_OUT}"
        )
    return BatchRow(batch.row, {**batch.images, "images": b"", "reference": rows.to_dict()})
