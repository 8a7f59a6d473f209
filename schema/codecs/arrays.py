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
_SHARES = b"AQCB"  # as a float32 it is 48.8, which no share is: bytes of earlier versions never begin so


def encode_images(images: NDArray[np.uint8]) -> bytes:
    """(N, H, W) uint8 to bytes."""
    return np.ascontiguousarray(images, dtype=np.uint8).tobytes()


def batch_checksum(images: bytes, labels: bytes | None) -> str:
    """SHA-256 of a batch's images and, where there are any, its labels after them."""
    return checksum(images + (labels or b""))


def decode_images(
    data: bytes, shape: tuple[int, int, int], sha256: str, labels: bytes | None
) -> NDArray[np.uint8]:
    """Bytes of a batch to (N, H, W) uint8, read-only; its labels are checked with them.

    sha256: as `batch_checksum` gives it. Batches that were queued before labels were covered have that of
        their images alone.

    Raises:
        Corrupt: the checksum or the length does not agree.
    """
    state = hashlib.sha256(data)
    of_images = state.hexdigest()
    state.update(labels or b"")
    if sha256 not in (state.hexdigest(), of_images):
        held = "images" if labels is None else "images or their labels"
        raise Corrupt(f"{shape[0]} stored {held} are damaged: their checksum does not agree")
    return _read(data, np.dtype(np.uint8), math.prod(shape)).reshape(shape)


def training_checksum(shape: tuple[int, ...], images: bytes, labels: bytes) -> str:
    """SHA-256 of a training set: its shape, its images before they are deflated, its labels."""
    return digest(str(shape).encode(), images, labels)


def decode_training_set(
    data: bytes, labels: bytes, shape: tuple[int, int, int], sha256: str
) -> tuple[NDArray[np.uint8], NDArray[np.int16]]:
    """Deflated images and labels of a training set to (N, H, W) uint8 and (N,) int16, read-only.

    Raises:
        Corrupt: they are damaged, or hold more or less than the shape says.
    """
    images = inflate_images(data, shape)
    if training_checksum(shape, images.tobytes(), labels) != sha256:
        raise Corrupt(f"{shape[0]} stored images or their labels are damaged: their checksum does not agree")
    return images, decode_labels(labels, shape[0])


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
    """(B, K) scores to one row of bytes for each image: K float32 and their CRC-32."""
    rows = np.ascontiguousarray(scores, dtype="<f4")
    return [_sealed(row.tobytes()) for row in rows]


def decode_scores(rows: list[bytes], classes: int) -> NDArray[np.float32]:
    """Rows of bytes to (B, K) float32, each in [0, 1]. Rows of earlier versions have no checksum.

    Raises:
        Corrupt: length or checksum do not agree, or a score is out of range; says which of the rows.
    """
    plain = [_opened(row, 4 * classes, f"scores {index} of {len(rows)}") for index, row in enumerate(rows)]
    scores = np.frombuffer(b"".join(plain), "<f4").reshape(len(rows), classes)
    if not ((scores >= 0.0) & (scores <= 1.0)).all():
        raise Corrupt("scores are damaged: one is not between 0 and 1")
    return scores


def encode_chain_breaks(shares: NDArray[np.floating]) -> bytes:
    """(B, n) shares of broken reads to bytes: a mark, a CRC-32, the shares as float32."""
    body = np.ascontiguousarray(shares, dtype="<f4").tobytes()
    return _SHARES + zlib.crc32(body).to_bytes(4, "little") + body


def decode_chain_breaks(data: bytes, images: int) -> NDArray[np.float32]:
    """Bytes to (B, n) float32, each in [0, 1]. Those of earlier versions have neither mark nor checksum.

    Raises:
        Corrupt: length or checksum do not agree, or a share is out of range.
    """
    body = data
    if data[:4] == _SHARES:
        body = data[8:]
        if zlib.crc32(body).to_bytes(4, "little") != data[4:8]:
            raise Corrupt("shares of broken chains are damaged: their checksum does not agree")
    if not body or len(body) % (4 * images):
        raise Corrupt(f"{len(body)} bytes are no shares of broken chains for {images} images")
    shares = np.frombuffer(body, "<f4").reshape(images, -1)
    if not ((shares >= 0.0) & (shares <= 1.0)).all():
        raise Corrupt("shares of broken chains are damaged: one is not between 0 and 1")
    return shares


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


def _sealed(data: bytes) -> bytes:
    return data + zlib.crc32(data).to_bytes(4, "little")


def _opened(data: bytes, size: int, name: str) -> bytes:
    """The first ``size`` bytes, compared with the CRC-32 after them where there is one."""
    if len(data) not in (size, size + 4):
        raise Corrupt(f"{name} have {len(data)} bytes where {size} belong")
    if len(data) > size and data != _sealed(data[:size]):
        raise Corrupt(f"{name} are damaged: their checksum does not agree")
    return data[:size]


def _read(data: bytes, dtype: np.dtype[_T], count: int) -> NDArray[_T]:
    if len(data) != count * dtype.itemsize:
        raise Corrupt(f"{len(data)} bytes are stored where {count} values of {dtype.itemsize} bytes belong")
    return np.frombuffer(data, dtype)
