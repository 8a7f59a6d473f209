"""The format of raw reads: a header, packed bits, energies, occurrences.

All numbers are little-endian. The header has 32 bytes:

    offset  bytes  content
         0      4  the letters `AQSS`
         4      2  version of the format
         6      2  flags: 1 occurrences follow, 2 the body is deflated (zlib)
         8      4  images
        12      4  reads of each image
        16      4  variables, bits of a read
        20      8  bytes of the body as stored
        28      4  CRC-32 of the header with 0 in this place, then of the body as stored

The body follows, deflated if that makes it shorter:

    bits         (images, reads, ceil(variables / 8)) uint8, most significant bit first
    energies     (images, reads) float32
    occurrences  (images, reads) int32, only with flag 1

A problem whose every read is of the whole chip, with many images side by side, is stored as one image.

>>> bits = np.array([[[1, 0, 1], [0, 1, 1]]], dtype=np.uint8)  # one image, two reads, three variables
>>> reads = RawReads.of(bits, np.array([[-2.5, -1.0]]))
>>> data = encode(reads)
>>> data[:4], len(data)
(b'AQSS', 42)
>>> decode(data).bits.tolist()
[[[1, 0, 1], [0, 1, 1]]]
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from schema.errors import Corrupt

VERSION = 1
MAX_BODY_BYTES = 1 << 31  # a hostile header must not make the reader allocate without bound

_MAGIC = b"AQSS"
_HEADER = struct.Struct("<4sHHIIIQI")
_OCCURRENCES = 1
_DEFLATED = 2
_DEFLATE_LEVEL = 1  # higher levels take ten times as long and save 5 %

Deflate = Callable[[bytes, int], bytes]  # of (bytes, level)


@dataclass(frozen=True, eq=False)
class RawReads:
    """Reads of one problem, eight bits in a byte, as they are stored and transmitted.

    Attributes:
        packed: (images, reads, ceil(variables / 8)) uint8, most significant bit first, then zeros.
        variables: bits of a read.
        energies: (images, reads) float32, as the solver returned them.
        occurrences: (images, reads) int32 for a histogram; None when each read occurred once.
    """

    packed: NDArray[np.uint8]
    variables: int
    energies: NDArray[np.float32]
    occurrences: NDArray[np.int32] | None = None

    @classmethod
    def of(
        cls,
        bits: NDArray[np.uint8],
        energies: NDArray[np.floating],
        occurrences: NDArray[np.int32] | None = None,
    ) -> RawReads:
        """Pack ``bits`` (images, reads, variables) uint8, with ``energies`` and ``occurrences``.

        Raises:
            ValueError: a bit is neither 0 nor 1, or the array has another shape or type.
        """
        if bits.ndim != 3 or bits.dtype != np.uint8:
            raise ValueError(
                f"bits need shape (images, reads, variables) uint8, not {bits.shape} {bits.dtype}"
            )
        if bits.size and bits.max() > 1:
            raise ValueError("a bit is neither 0 nor 1")
        return cls(np.packbits(bits, axis=2), bits.shape[2], energies.astype(np.float32), occurrences)

    @property
    def bits(self) -> NDArray[np.uint8]:
        """Return the bits (images, reads, variables) uint8, each 0 or 1."""
        return np.unpackbits(self.packed, axis=2, count=self.variables)


def encode(samples: RawReads, deflate: Deflate = zlib.compress) -> bytes:
    """Encode ``samples``; ``deflate`` is any library's equal of `zlib.compress`.

    Raises:
        ValueError: shapes do not agree.
    """
    _check_shapes(samples)
    images, reads, _ = samples.packed.shape
    parts = [samples.packed.tobytes(), np.ascontiguousarray(samples.energies, dtype="<f4").tobytes()]
    flags = 0
    if samples.occurrences is not None:
        flags |= _OCCURRENCES
        parts.append(np.ascontiguousarray(samples.occurrences, dtype="<i4").tobytes())
    body = b"".join(parts)
    deflated = deflate(body, _DEFLATE_LEVEL)
    if len(deflated) < len(body):
        body, flags = deflated, flags | _DEFLATED
    head = (_MAGIC, VERSION, flags, images, reads, samples.variables, len(body))
    return _HEADER.pack(*head, _checksum(head, body)) + body


def decode(data: bytes) -> RawReads:
    """Decode ``data``; the arrays are read-only.

    Raises:
        Corrupt: not a sample set, truncated, damaged, or of an unknown version.
    """
    if len(data) < _HEADER.size or data[:4] != _MAGIC:
        raise Corrupt(f"not a sample set: {len(data)} bytes without its header")
    *head, checksum = _HEADER.unpack_from(data)
    _, version, flags, images, reads, variables, length = head
    body = data[_HEADER.size :]
    # First: a flipped bit in the version is damage. Every version has its checksum in this place.
    if len(body) != length or _checksum(tuple(head), body) != checksum:
        raise Corrupt("sample set is damaged: its checksum does not agree")
    if version != VERSION:
        raise Corrupt(f"sample set of version {version}: this annealq reads version {VERSION}; upgrade it")
    row = (variables + 7) // 8
    cells = images * reads
    sizes = (cells * row, cells * 4, cells * 4 if flags & _OCCURRENCES else 0)
    body = _inflate(body, sum(sizes), deflated=bool(flags & _DEFLATED))
    packed = np.frombuffer(body, np.uint8, sizes[0]).reshape(images, reads, row)
    energies = np.frombuffer(body, "<f4", cells, sizes[0]).reshape(images, reads)
    occurrences = None
    if flags & _OCCURRENCES:
        occurrences = np.frombuffer(body, "<i4", cells, sizes[0] + sizes[1]).reshape(images, reads)
    return RawReads(packed, variables, energies, occurrences)


def _check_shapes(samples: RawReads) -> None:
    packed, row = samples.packed, (samples.variables + 7) // 8
    if packed.ndim != 3 or packed.dtype != np.uint8 or packed.shape[2] != row:
        raise ValueError(
            f"packed bits of {samples.variables} variables need shape (images, reads, {row}) uint8, "
            f"not {packed.shape} {packed.dtype}"
        )
    for name, array in (("energies", samples.energies), ("occurrences", samples.occurrences)):
        if array is not None and array.shape != packed.shape[:2]:
            raise ValueError(f"{name} have shape {array.shape}, the bits {packed.shape[:2]}")


def _checksum(head: tuple[object, ...], body: bytes) -> int:
    return zlib.crc32(body, zlib.crc32(_HEADER.pack(*head, 0)))


def _inflate(body: bytes, size: int, *, deflated: bool) -> bytes:
    if size > MAX_BODY_BYTES:
        raise Corrupt(f"sample set claims {size} bytes, more than {MAX_BODY_BYTES}")
    if not deflated:
        plain = body
    else:
        stream = zlib.decompressobj()
        try:
            plain = stream.decompress(body, size + 1)
        except zlib.error as error:
            raise Corrupt(f"sample set is damaged: {error}") from None
    if len(plain) != size:
        raise Corrupt(f"sample set holds {len(plain)} bytes where its header needs {size}")
    return plain
