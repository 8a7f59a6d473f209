"""Encodes problems and decodes answers for the wire of D-Wave's protocol (SAPI): the `qp` format.

A problem has two arrays of little-endian float64, in base64:

    lin   h of every qubit in the solver's order (its property `qubits`), NaN where a qubit is not in use
    quad  J of every coupler whose two qubits are in use, in the order of the property `couplers`

An answer has, in base64, the ids of the qubits in use (int32, ascending), an energy for each read (float64),
and
`solutions`: a row of bits for each read, one bit for each qubit in use, most significant bit first, each row
    filled up to whole bytes. The client's own encoder and decoder (`dwave.cloud.coders`) define the format;
    they go through dicts of all qubits, which takes 11 and 24 ms for a full chip.

Two reads of the qubits 4 and 7, with bits 10 and 01:

>>> import base64
>>> def text(values): return base64.b64encode(values.tobytes()).decode()
>>> answer = decode_answer({
...     "format": "qp",
...     "active_variables": text(np.array([4, 7], "<i4")),
...     "energies": text(np.array([-1.0, -0.5])),
...     "solutions": text(np.array([0b10000000, 0b01000000], np.uint8)),
... })
>>> answer.active.tolist(), answer.bits.tolist(), answer.energies.tolist()
([4, 7], [[1, 0], [0, 1]], [-1.0, -0.5])
"""

from __future__ import annotations

import binascii
import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pybase64
from numpy.typing import NDArray

from schema.errors import Corrupt

FloatArray = NDArray[np.float64]

# D-Wave's solvers take 10,000. A hostile answer must not make the reader allocate without bound.
_MAX_READS = 100_000


@dataclass(frozen=True, eq=False)
class Answer:
    """The reads of one problem as the solver returned them."""

    # (R, ceil(A / 8)) uint8, bits in the order of ``active``, most significant first, 0 after the last
    packed: NDArray[np.uint8]
    energies: FloatArray  # (R,) float64, in the submitted scale
    active: NDArray[np.int32]  # (A,) int32, qubits in use, ascending
    occurrences: NDArray[np.int32] | None  # (R,) int32 for a histogram, else None
    timing_us: dict[str, float]  # the solver's own figures by name, microseconds

    @property
    def bits(self) -> NDArray[np.uint8]:
        """Return (R, A) uint8, each 0 or 1."""
        return np.unpackbits(self.packed, axis=1, count=len(self.active))


def encode_doubles(values: FloatArray) -> str:
    """Encode ``values`` float64 for the wire: `lin` or `quad` of a problem.

    >>> encode_doubles(np.array([1.0]))
    'AAAAAAAA8D8='
    """
    return pybase64.b64encode_as_string(values.astype("<f8", copy=False).tobytes())


def problem_digest(lin: str, quad: str) -> str:
    """Return the SHA-256, in hex, of a problem as it is sent: of ``lin``, a line feed and ``quad``."""
    return hashlib.sha256(f"{lin}\n{quad}".encode("ascii")).hexdigest()


def decode_answer(answer: Mapping[str, Any]) -> Answer:
    """Decode the field `answer` of a problem.

    Raises:
        Corrupt: parts are missing, are not base64, or their lengths do not agree.
    """
    try:
        if answer["format"] != "qp":
            raise Corrupt(f"an answer has format {answer['format']!r}, not qp")
        energies = np.frombuffer(_bytes(answer["energies"]), "<f8").astype(np.float64)
        active = np.frombuffer(_bytes(answer["active_variables"]), "<i4").astype(np.int32)
        packed = np.frombuffer(_bytes(answer["solutions"]), np.uint8)
        counts = answer.get("num_occurrences")
        occurrences = None if counts is None else np.frombuffer(_bytes(counts), "<i4").astype(np.int32)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise Corrupt(f"the solver's answer cannot be read: {error!r}") from None
    row = -(-len(active) // 8)
    agree = len(packed) == len(energies) * row and (occurrences is None or len(occurrences) == len(energies))
    if not agree or not 0 < len(energies) <= _MAX_READS or not np.isfinite(energies).all():
        raise Corrupt(
            f"the solver's answer has {len(energies)} energies, {len(active)} qubits and "
            f"{len(packed)} bytes of bits, which do not fit together"
        )
    reads = packed.reshape(len(energies), row).copy()
    reads[:, -1:] &= 0xFF << (-len(active) % 8) & 0xFF
    return Answer(reads, energies, active, occurrences, decode_timing(answer.get("timing")))


def decode_timing(timing: Any) -> dict[str, float]:
    """Return the finite numbers of the field `timing` of an answer, which is not lost if it has others."""
    if not isinstance(timing, Mapping):
        return {}
    numbers = {str(name): value for name, value in timing.items() if type(value) in (int, float)}
    return {name: float(value) for name, value in numbers.items() if math.isfinite(value)}


def _bytes(text: Any) -> bytes:
    if not isinstance(text, str):
        raise Corrupt(f"the solver's answer has {type(text).__name__} where base64 is expected")
    try:
        return pybase64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise Corrupt("the solver's answer has text that is not base64") from None
