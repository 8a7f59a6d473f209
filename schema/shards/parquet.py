"""Reads pictures, lists of pixels or vectors of some rows of a Parquet file.

Pictures are those that need no conversion: grey or RGB, upright. A picture in memory is never larger than the
images of its batch.
"""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schema.errors import ShardError
from schema.shapes import ImageShape

_FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "PPM", "TIFF")
_ORIENTATION = 0x0112  # EXIF tag; 1 is upright
_ROWS = 256  # read at a time
_BUFFER_BYTES = 2**16
_MAX_CHUNK_BYTES = 2**30  # of a row group, unpacked


def read_parquet(path: Path, column: str, first: int, count: int, shape: ImageShape) -> bytes:
    """Return ``count`` rows, from row ``first`` on, of ``column`` of the file at ``path``: of ``shape``.

    Raises:
        OSError, ValueError: the file cannot be read, or has no such rows.
        ShardError: pyarrow is not installed.
    """
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise ShardError(
            "batches that refer to Parquet files need pyarrow on workers, too: pip install 'annealq[parquet]'"
        ) from None
    try:
        with pq.ParquetFile(path, buffer_size=_BUFFER_BYTES, pre_buffer=False) as file:
            parts = [_encode(values, shape) for values in _values(file, column, first, count)]
    except pa.ArrowException as error:
        raise ValueError(" ".join(str(error).split())[:200]) from None
    data = b"".join(parts)
    if len(data) != count * shape.nbytes:
        raise ValueError(f"it ends before row {first + count:,}")
    return data


def _values(file: Any, column: str, first: int, count: int) -> Iterator[Any]:
    """Yield the rows of ``column``, some at a time."""
    start, end = 0, first + count
    for number in range(file.num_row_groups):
        group = file.metadata.row_group(number)
        if start < end and first < start + group.num_rows:
            if group.total_byte_size > _MAX_CHUNK_BYTES:
                raise ValueError(f"row group {number} unpacks to {group.total_byte_size:,} bytes")
            row = start
            for batch in file.iter_batches(_ROWS, [number], [column], use_threads=False):
                low, high = max(first - row, 0), min(end - row, len(batch))
                if low < high:
                    yield batch.column(column).slice(low, high - low)
                row += len(batch)
                if row >= end:
                    return
        start += group.num_rows


def _encode(values: Any, shape: ImageShape) -> bytes:
    import pyarrow as pa

    if pa.types.is_struct(values.type):
        values = values.field("bytes")
    if shape.is_vector or values.type.num_fields or isinstance(values, pa.ExtensionArray):
        flat = values.storage if isinstance(values, pa.ExtensionArray) else values
        while flat.type.num_fields:
            flat = flat.flatten()
        rows = np.asarray(flat.to_numpy(zero_copy_only=False), dtype=shape.stored_dtype)
        if rows.size != len(values) * math.prod(shape.sizes):
            raise ValueError("its lists have another length")
        return rows.tobytes()
    if not (pa.types.is_binary(values.type) or pa.types.is_large_binary(values.type)):
        raise ValueError(f"its column has type {values.type}")
    return b"".join(_decode(value.as_buffer(), shape).tobytes() for value in values)


def _decode(data: Any, shape: ImageShape) -> NDArray[np.uint8]:
    from PIL import Image, UnidentifiedImageError

    if data is None:
        raise ValueError("a row has no picture")
    mode = "RGB" if shape.is_colour else "L"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with Image.open(io.BytesIO(data), formats=_FORMATS) as picture:
                if picture.size != shape.size[::-1] or picture.mode not in ("L", "RGB"):
                    raise ValueError(f"a picture is {picture.size[1]} x {picture.size[0]} {picture.mode}")
                if picture.has_transparency_data or picture.getexif().get(_ORIENTATION, 1) != 1:
                    raise ValueError("a picture is turned or transparent")
                return np.asarray(picture.convert(mode))
    except (UnidentifiedImageError, Image.DecompressionBombError, SyntaxError, EOFError, Warning) as error:
        raise ValueError(f"a picture is damaged ({error})") from None
