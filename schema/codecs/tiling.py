"""Tilings, k disjoint copies of an embedding on one solver, and their format as bytes.

All numbers are little-endian. The header has 24 bytes:

    offset  bytes  content
         0      4  the letters `AQTL`
         4      2  version of the format
         6      2  zero
         8      4  tiles, k
        12      4  units of each tile, n
        16      4  qubits in all chains
        20      4  CRC-32 of the header with 0 in this place, then of the body

The body follows: the lengths of all k * n chains, tile by tile, then the qubits of all chains in the same
order; each an int32.

>>> tiling = Tiling.from_chains([[[0, 4], [1]], [[8, 12], [9]]])  # two tiles, two units
>>> tiling.tiles, tiling.units, tiling.longest_chain
(2, 2, 2)
>>> tiling.chain(tile=1, unit=0).tolist()
[8, 12]
>>> len(encode(tiling))
64
>>> decode(encode(tiling)).qubits.tolist()
[0, 4, 1, 8, 12, 9]
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from schema.errors import Corrupt

VERSION = 1

_MAGIC = b"AQTL"
_HEADER = struct.Struct("<4sHHIIII")
_MAX_QUBITS = 1 << 24  # a hostile header must not make the reader allocate without bound

QubitArray = NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class Tiling:
    """Chains of qubits for each unit of each tile; tiles do not share qubits.

    Attributes:
        lengths: (k, n) int32, qubits in each chain, each at least 1.
        qubits: (sum of lengths,) int32, the qubits of all chains: tile by tile, unit by unit. Each qubit at
            most once.

    Raises:
        ValueError: the parts do not fit together, or a qubit is used twice.
    """

    lengths: QubitArray
    qubits: QubitArray

    def __post_init__(self) -> None:
        lengths, qubits = self.lengths, self.qubits
        if lengths.ndim != 2 or 0 in lengths.shape or lengths.dtype != np.int32 or lengths.min() < 1:
            raise ValueError("lengths must be (tiles, units) int32, each at least 1")
        if qubits.shape != (int(lengths.sum()),) or qubits.dtype != np.int32 or qubits.min() < 0:
            raise ValueError(f"qubits must be ({int(lengths.sum())},) int32, 0 or more")
        if len(np.unique(qubits)) < len(qubits):
            raise ValueError("a qubit is in two chains")
        for array in (lengths, qubits):
            array.setflags(write=False)

    @classmethod
    def from_chains(cls, tiles: list[list[list[int]]]) -> Tiling:
        """Return the tiling in which ``tiles[t][u]`` lists the qubits of unit u in tile t."""
        lengths = np.array([[len(chain) for chain in tile] for tile in tiles], dtype=np.int32)
        flat = [qubit for tile in tiles for chain in tile for qubit in chain]
        return cls(lengths, np.array(flat, dtype=np.int32))

    @property
    def tiles(self) -> int:
        """Return the number of copies, k, which is the number of images in one problem."""
        return len(self.lengths)

    @property
    def units(self) -> int:
        """Return the number of variables in one tile, n."""
        return int(self.lengths.shape[1])

    @property
    def longest_chain(self) -> int:
        """Return the number of qubits in the longest chain."""
        return int(self.lengths.max())

    @cached_property
    def starts(self) -> NDArray[np.intp]:
        """Return (k * n + 1,) intp: where each chain starts in ``qubits``, tile by tile, and the end."""
        return np.concatenate(([0], np.cumsum(self.lengths.ravel()))).astype(np.intp)

    def chain(self, tile: int, unit: int) -> QubitArray:
        """Return the qubits (length,) of ``unit`` in ``tile``."""
        index = tile * self.units + unit
        return self.qubits[self.starts[index] : self.starts[index + 1]]

    def span(self, first: int, count: int) -> Tiling:
        """Return the tiling of ``count`` tiles from ``first`` on; the first tile follows the last.

        Raises:
            ValueError: there are fewer tiles.
        """
        if not 0 <= first < self.tiles or not 0 < count <= self.tiles:
            raise ValueError(f"{count} tiles from tile {first} on do not fit on {self.tiles}")
        return self if (first, count) == (0, self.tiles) else self.take(self.numbers(first, count))

    def numbers(self, first: int, count: int) -> NDArray[np.intp]:
        """Return the numbers (count,) of the tiles from ``first`` on, as `span` takes them."""
        return np.asarray((first + np.arange(count)) % self.tiles, np.intp)

    def take(self, tiles: NDArray[np.intp]) -> Tiling:
        """Return the tiling of only these ``tiles``, in this order."""
        chosen = np.arange(self.tiles)[tiles]
        spans = [self.qubits[self.starts[t * self.units] : self.starts[(t + 1) * self.units]] for t in chosen]
        return Tiling(self.lengths[chosen], np.concatenate(spans))


def encode(tiling: Tiling) -> bytes:
    """Encode ``tiling``; `decode` returns an equal one."""
    body = tiling.lengths.astype("<i4").tobytes() + tiling.qubits.astype("<i4").tobytes()
    head = (_MAGIC, VERSION, 0, tiling.tiles, tiling.units, len(tiling.qubits))
    return _HEADER.pack(*head, _checksum(head, body)) + body


def decode(data: bytes) -> Tiling:
    """Decode ``data``.

    Raises:
        Corrupt: not a tiling, truncated, damaged, or of an unknown version.
    """
    if len(data) < _HEADER.size or data[:4] != _MAGIC:
        raise Corrupt(f"not a tiling: {len(data)} bytes without its header")
    *head, checksum = _HEADER.unpack_from(data)
    _, version, _, tiles, units, qubits = head
    body = data[_HEADER.size :]
    # First: a flipped bit in the version is damage. Every version has its checksum in this place.
    if _checksum(tuple(head), body) != checksum:
        raise Corrupt("tiling is damaged: its checksum does not agree")
    if version != VERSION:
        raise Corrupt(f"tiling of version {version}: this annealq reads version {VERSION}; upgrade it")
    if max(tiles * units, qubits) > _MAX_QUBITS or len(body) != 4 * (tiles * units + qubits):
        raise Corrupt("tiling is damaged: its size does not agree with its header")
    lengths = np.frombuffer(body, "<i4", tiles * units).astype(np.int32)
    try:
        chained = np.frombuffer(body, "<i4", qubits, 4 * tiles * units).astype(np.int32)
        return Tiling(lengths.reshape(tiles, units), chained)
    except ValueError as error:
        raise Corrupt(f"tiling is damaged: {error}") from None


def _checksum(head: tuple[object, ...], body: bytes) -> int:
    return zlib.crc32(body, zlib.crc32(_HEADER.pack(*head, 0)))
