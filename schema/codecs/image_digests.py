"""Finds images that two data sets share: accuracy on images used for fitting is too optimistic."""

from __future__ import annotations

import hashlib
import zlib

from schema.codecs.pieces import pieces
from schema.errors import Corrupt
from schema.quantities import count_text
from schema.shapes import ImageArray

_BYTES = hashlib.sha256().digest_size


def digests(images: ImageArray) -> bytes:
    """Return the SHA-256 of the values of each of N ``images``, concatenated: N x 32 bytes."""
    return b"".join(hashlib.sha256(image.tobytes()).digest() for piece in pieces(images) for image in piece)


def shared_images(some: bytes, others: bytes) -> list[int]:
    """Return indices of the images of ``some`` that are in ``others``, both packed by :func:`digests`."""
    other_digests = set(split(others))
    return [index for index, digest in enumerate(split(some)) if digest in other_digests]


def seal(packed: bytes) -> bytes:
    """Return ``packed`` digests as a row stores them: with a CRC-32."""
    return packed + zlib.crc32(packed).to_bytes(4, "little")


def unseal(data: bytes, images: int) -> bytes:
    """Return the digests of that many ``images`` from the ``data`` of a row; old rows have no checksum.

    Raises:
        Corrupt: length or checksum do not agree.
    """
    packed = data[: _BYTES * images]
    if len(packed) < _BYTES * images or data not in (packed, seal(packed)):
        raise Corrupt(
            f"the digests of its {count_text(images, 'image')} are damaged: their checksum does not agree"
        )
    return packed


def split(packed: bytes) -> list[bytes]:
    """Return the digest of each image of those ``packed`` by :func:`digests`."""
    return [packed[start : start + _BYTES] for start in range(0, len(packed), _BYTES)]
