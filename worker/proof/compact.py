"""Reads, features and working graphs in the order of bytes that deflates best; nothing is lost.

Reads of an annealer differ little from each other, and so do neighbouring couplers: differences deflate
better than values. Numbers deflate better as planes: their lowest bytes, then the next ones, as HDF5's
shuffle filter arranges them.
"""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schema.codecs import samples
from schema.codecs.samples import RawReads
from schema.errors import Corrupt

_READS = struct.Struct("<IIIB")  # images, reads of each, variables, and whether occurrences follow


def encode_planes(values: NDArray[Any]) -> bytes:
    """Encode ``values`` in C order, little-endian: the lowest bytes of all, then the next ones.

    >>> encode_planes(np.array([1, 258], "<i4")).hex()
    '0102000100000000'
    """
    plain = np.ascontiguousarray(values, values.dtype.newbyteorder("<"))
    return plain.view(np.uint8).reshape(-1, plain.itemsize).T.tobytes()


def decode_planes(data: bytes, dtype: str) -> NDArray[Any]:
    """Decode ``data`` to values (N,) of ``dtype``; raise Corrupt if it does not hold whole ones."""
    size = np.dtype(dtype).itemsize
    if len(data) % size:
        raise Corrupt(f"{len(data)} bytes are not whole values of {size} bytes")
    planes = np.frombuffer(data, np.uint8).reshape(size, -1)
    return np.ascontiguousarray(planes.T).view(dtype).ravel()


def encode_reads(stored: bytes) -> bytes:
    """Encode raw reads from their form in the database, ``stored`` (see `schema.codecs.samples`).

    Images, reads and variables (uint32) and whether occurrences follow (uint8) come first. Then there are
    bits (images, variables, ceil(reads / 8)) uint8, most significant bit first: whether a variable differs
    from the read before, and in the first read from 0. Energies (float32) and occurrences (int32) follow
    as planes.

    Raises:
        Corrupt: ``stored`` is damaged.
    """
    reads = samples.decode(stored)
    packed = reads.packed.copy()
    packed[:, 1:] ^= reads.packed[:, :-1]
    by_variable = np.unpackbits(packed, axis=2, count=reads.variables).transpose(0, 2, 1)
    images, number, _ = packed.shape
    parts = [
        _READS.pack(images, number, reads.variables, reads.occurrences is not None),
        np.packbits(by_variable, axis=2).tobytes(),
        encode_planes(reads.energies),
        b"" if reads.occurrences is None else encode_planes(reads.occurrences),
    ]
    return b"".join(parts)


def decode_reads(data: bytes) -> bytes:
    """Return the reads in ``data`` as the database has them, not deflated.

    Raises:
        Corrupt: ``data`` is not as `encode_reads` returns it.
    """
    if len(data) < _READS.size:
        raise Corrupt(f"a sample set has {len(data)} bytes, fewer than its header")
    images, number, variables, occurrences = _READS.unpack_from(data)
    width, cells = -(-number // 8), images * number
    bits = images * variables * width
    ends = np.cumsum([_READS.size, bits, 4 * cells, 4 * cells * occurrences], dtype=object).tolist()
    if occurrences > 1 or len(data) != ends[-1]:
        raise Corrupt(f"a sample set has {len(data)} bytes, not those of its {cells} reads")
    packed = np.frombuffer(data, np.uint8, bits, ends[0]).reshape(images, variables, width)
    if (packed[..., -1:] & (0xFF >> (number % 8 or 8))).any():
        raise Corrupt("a sample set has bits of more reads than it says")
    by_read = np.unpackbits(packed, axis=2, count=number).transpose(0, 2, 1)
    changes = np.packbits(by_read, axis=2)
    energies = decode_planes(data[ends[1] : ends[2]], "<f4").reshape(images, number)
    counts = decode_planes(data[ends[2] :], "<i4").reshape(images, number) if occurrences else None
    reads = RawReads(np.bitwise_xor.accumulate(changes, axis=1), variables, energies, counts)
    return samples.encode(reads, lambda body, _level: body)


def encode_graph(qubits: NDArray[np.int32], couplers: NDArray[np.int32]) -> bytes:
    """Encode ``qubits`` (Q,) and ``couplers`` (M, 2).

    There are planes of int32: differences of qubits, of the couplers' first qubits, and in each coupler.
    """
    first = couplers[:, 0]
    parts = (np.diff(qubits, prepend=0), np.diff(first, prepend=0), couplers[:, 1] - first)
    return encode_planes(np.concatenate(parts).astype("<i4"))


def decode_graph(data: bytes, qubits: int, couplers: int) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Return qubits (``qubits``,) and couplers (``couplers``, 2) of ``data``.

    Raises:
        Corrupt: ``data`` has other sizes.
    """
    if len(data) != 4 * (qubits + 2 * couplers):
        raise Corrupt(
            f"a working graph has {len(data)} bytes, not those of {qubits} qubits, {couplers} couplers"
        )
    values = decode_planes(data, "<i4")
    first = np.cumsum(values[qubits : qubits + couplers], dtype=np.int32)
    pairs = np.stack((first, first + values[qubits + couplers :]), axis=1)
    return np.cumsum(values[:qubits], dtype=np.int32), pairs
