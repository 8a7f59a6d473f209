"""The format of a solver's working graph: qubits, then pairs of couplers, little-endian int32, deflated."""

from __future__ import annotations

import zlib

import numpy as np
from numpy.typing import NDArray

from schema.errors import Corrupt
from schema.quantities import count_text

IndexArray = NDArray[np.int32]


def encode(qubits: IndexArray, couplers: IndexArray) -> bytes:
    """Encode ``qubits`` (Q,) and ``couplers`` (M, 2)."""
    return zlib.compress(qubits.astype("<i4").tobytes() + couplers.astype("<i4").tobytes())


def decode(data: bytes, qubits: int, couplers: int) -> tuple[IndexArray, IndexArray]:
    """Return the qubits (Q,) and couplers (M, 2), both int32, in ``data``.

    Raises:
        Corrupt: the data are damaged, or are not Q = ``qubits`` and M = ``couplers``.
    """
    size = 4 * (qubits + 2 * couplers)
    inflater = zlib.decompressobj()
    try:
        flat = inflater.decompress(data, size + 1)
    except zlib.error as error:
        raise Corrupt(f"a chip's graph is damaged: {error}") from None
    if len(flat) != size or not inflater.eof:
        raise Corrupt(
            f"a chip's graph does not hold {count_text(qubits, 'qubit')} and "
            f"{count_text(couplers, 'coupler')}"
        )
    values = np.frombuffer(flat, "<i4").astype(np.int32)
    return values[:qubits], values[qubits:].reshape(couplers, 2)
