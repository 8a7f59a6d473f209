"""Images, labels and scores as the bytes that the tables hold: C order, little-endian."""

from __future__ import annotations

import hashlib
import json
import math
import zlib
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from schema.errors import Corrupt

_T = TypeVar("_T", bound=np.generic)


def encode_images(images: NDArray[np.uint8]) -> bytes:
    """(N, H, W) uint8 to bytes."""
    return np.ascontiguousarray(images, dtype=np.uint8).tobytes()


def decode_images(data: bytes, shape: tuple[int, int, int], sha256: str) -> NDArray[np.uint8]:
    """Bytes to (N, H, W) uint8, read-only.

    Raises:
        Corrupt: the checksum or the length does not agree.
    """
    if checksum(data) != sha256:
        raise Corrupt(f"{shape[0]} stored images are damaged: their checksum does not agree")
    return _read(data, np.dtype(np.uint8), shape[0] * shape[1] * shape[2]).reshape(shape)


def inflate_images(data: bytes, shape: tuple[int, int, int]) -> NDArray[np.uint8]:
    """Deflated bytes of a training set to (N, H, W) uint8, read-only.

    Raises:
        Corrupt: they are damaged, or hold more or less than the shape says.
    """
    size = math.prod(shape)
    try:
        plain = zlib.decompressobj().decompress(data, size + 1)
    except zlib.error as error:
        raise Corrupt(f"{shape[0]} stored images are damaged: {error}") from None
    return _read(plain, np.dtype(np.uint8), size).reshape(shape)


def encode_labels(labels: NDArray[np.integer]) -> bytes:
    """(N,) whole numbers below 2^15 to bytes."""
    return np.ascontiguousarray(labels, dtype="<i2").tobytes()


def decode_labels(data: bytes, count: int) -> NDArray[np.int16]:
    """Bytes to (N,) int16; raises Corrupt when the length does not agree."""
    return _read(data, np.dtype(np.int16).newbyteorder("<"), count)


def encode_scores(scores: NDArray[np.floating]) -> list[bytes]:
    """(B, K) scores to one row of bytes for each image."""
    rows = np.ascontiguousarray(scores, dtype="<f4")
    return [row.tobytes() for row in rows]


def decode_scores(rows: list[bytes], classes: int) -> NDArray[np.float32]:
    """Rows of bytes to (B, K) float32; raises Corrupt when the length does not agree."""
    return _read(b"".join(rows), np.dtype(np.float32).newbyteorder("<"), len(rows) * classes).reshape(
        len(rows), classes
    )


def checksum(data: bytes) -> str:
    """SHA-256 of stored bytes, as it stands beside them."""
    return hashlib.sha256(data).hexdigest()


def digest(*parts: bytes) -> str:
    """SHA-256 of parts, each with its length, so that no two lists of parts collide."""
    state = hashlib.sha256()
    for part in parts:
        state.update(len(part).to_bytes(8, "little"))
        state.update(part)
    return state.hexdigest()


def canonical(value: dict[str, Any]) -> bytes:
    """Plain JSON as bytes for a digest: equal values give equal bytes."""
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def _read(data: bytes, dtype: np.dtype[_T], count: int) -> NDArray[_T]:
    if len(data) != count * dtype.itemsize:
        raise Corrupt(f"{len(data)} bytes are stored where {count} values of {dtype.itemsize} bytes belong")
    return np.frombuffer(data, dtype)
