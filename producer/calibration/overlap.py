"""Which images two data sets share: what was fitted on an image says nothing about that image."""

from __future__ import annotations

import hashlib
import zlib

import numpy as np
from numpy.typing import NDArray

from schema.errors import Corrupt

_BYTES = hashlib.sha256().digest_size


def digests(images: NDArray[np.uint8]) -> bytes:
    """SHA-256 of the pixels of each of (N, H, W) images of one size, one after the other: N x 32 bytes."""
    rows = np.ascontiguousarray(images).reshape(len(images), -1)
    return b"".join(hashlib.sha256(row.tobytes()).digest() for row in rows)


def shared_images(some: bytes, others: bytes) -> list[int]:
    """Indices of the images in ``some`` that are also in ``others``, both as :func:`digests` packs them."""
    known = set(_split(others))
    return [index for index, digest in enumerate(_split(some)) if digest in known]


def seal(packed: bytes) -> bytes:
    """Digests as a row keeps them: with a CRC-32."""
    return packed + zlib.crc32(packed).to_bytes(4, "little")


def unseal(data: bytes, images: int) -> bytes:
    """The digests of so many images from a row. Rows of earlier versions have no checksum.

    Raises:
        Corrupt: length or checksum do not agree.
    """
    packed = data[: _BYTES * images]
    if len(packed) < _BYTES * images or data not in (packed, seal(packed)):
        raise Corrupt(f"the digests of its {images:,} images are damaged: their checksum does not agree")
    return packed


def _split(packed: bytes) -> list[bytes]:
    return [packed[start : start + _BYTES] for start in range(0, len(packed), _BYTES)]
