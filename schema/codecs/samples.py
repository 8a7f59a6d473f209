"""Raw sample sets as bytes: a versioned header, packed bits, energies, occurrences, a checksum.

Layout, little-endian: 32 bytes of header (magic `AQSS`, version, flags, images, reads, variables,
length of the body, CRC-32 of header and body), then the body, deflated where that saves room:

    bits         (images, reads, ceil(variables / 8)) uint8, most significant bit first
    energies     (images, reads) float32
    occurrences  (images, reads) int32, where there are any

One header holds all images of a problem that were sampled with the same number of reads. A
problem that carries many images in one read of the whole chip stores it as one image.
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
_HEADER = struct.Struct("<4sHHIIIQI")  # ... checksum last
_OCCURRENCES = 1
_DEFLATED = 2
_DEFLATE_LEVEL = 1  # reads of one image repeat; higher levels cost ten times the time for 5 % of the room


Deflate = Callable[[bytes, int], bytes]  # of (bytes, level)


@dataclass(frozen=True, eq=False)
class RawReads:
    """Reads of one problem, eight bits to a byte as they are stored and sent.

    Attributes:
        packed: (images, reads, ceil(variables / 8)) uint8, most significant bit first, 0 after the last.
        variables: how many bits a read has.
        energies: (images, reads) float32, as the solver returned them.
        occurrences: (images, reads) int32 for a histogram; None when every read stands alone.
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
        """From bits (images, reads, variables) uint8; raises ValueError when one is neither 0 nor 1."""
        if bits.ndim != 3 or bits.dtype != np.uint8:
            raise ValueError(
                f"bits need shape (images, reads, variables) uint8, not {bits.shape} {bits.dtype}"
            )
        if bits.size and bits.max() > 1:
            raise ValueError("a bit is neither 0 nor 1")
        return cls(np.packbits(bits, axis=2), bits.shape[2], energies.astype(np.float32), occurrences)

    @property
    def bits(self) -> NDArray[np.uint8]:
        """(images, reads, variables) uint8, each 0 or 1."""
        return np.unpackbits(self.packed, axis=2, count=self.variables)


def encode(samples: RawReads, deflate: Deflate = zlib.compress) -> bytes:
    """Samples to bytes; `decode` gives back equal arrays. deflate: as zlib's, by whatever library.

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
    """Bytes to samples.

    Raises:
        Corrupt: not a sample set, cut short, damaged, or of a version that this code does not know.
    """
    if len(data) < _HEADER.size or data[:4] != _MAGIC:
        raise Corrupt(f"not a sample set: {len(data)} bytes without its header")
    *head, checksum = _HEADER.unpack_from(data)
    _, version, flags, images, reads, variables, length = head
    if version != VERSION:
        raise Corrupt(f"sample set of version {version}: this annealq reads version {VERSION}; upgrade it")
    body = data[_HEADER.size :]
    if len(body) != length or _checksum(tuple(head), body) != checksum:
        raise Corrupt("sample set is damaged: its checksum does not agree")
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
