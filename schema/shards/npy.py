"""Reads rows of a .npy file, whose header is checked and whose other rows are not read."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from schema.shapes import ImageShape

_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


def read_npy(path: Path, first: int, count: int, shape: ImageShape) -> bytes:
    """Return ``count`` rows from row ``first`` on of the file at ``path``, images of ``shape``.

    Raises:
        OSError, ValueError: the file cannot be read, or has no such rows.
    """
    with path.open("rb") as file:
        version = np.lib.format.read_magic(file)
        if version not in _HEADERS:
            raise ValueError(f"its .npy version is {version}")
        stored, is_fortran, dtype = _HEADERS[version](file)
        sizes = stored[1:-1] if stored[1:] == (*shape.sizes, 1) else stored[1:]
        if is_fortran or dtype != shape.stored_dtype or tuple(sizes) != shape.sizes:
            raise ValueError(f"it has shape {stored} and type {dtype}")
        row = math.prod(shape.sizes) * dtype.itemsize
        file.seek(first * row, 1)
        data = file.read(count * row)
    if len(data) != count * row:
        raise ValueError(f"it ends before row {first + count:,}")
    return data
