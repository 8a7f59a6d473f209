"""Problems and answers as D-Wave's protocol (SAPI) has them on the wire: the `qp` format.

`lin`: h of every qubit in the solver's order, NaN where it is not in use. `quad`: J of every coupler whose
two qubits are in use, in the solver's order. Both little-endian float64, base64. Answers hold one row of bits
a read, most significant bit first, one bit for each qubit in use, rising.
"""

from __future__ import annotations

import binascii
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
    """The reads of one problem as the solver returned them.

    packed: (R, ceil(A / 8)) uint8, bits as in ``active``, most significant first, 0 after the last.
    energies: (R,) float64, in the programmed scale. active: (A,) int32, qubits in use, rising.
    occurrences: (R,) int32 for a histogram, else None. timing_us: the solver's own figures by name,
    microseconds.
    """

    packed: NDArray[np.uint8]
    energies: FloatArray
    active: NDArray[np.int32]
    occurrences: NDArray[np.int32] | None
    timing_us: dict[str, float]

    @property
    def bits(self) -> NDArray[np.uint8]:
        """(R, A) uint8, each 0 or 1."""
        return np.unpackbits(self.packed, axis=1, count=len(self.active))


def encode_doubles(values: FloatArray) -> str:
    """float64 values as the wire has them."""
    return pybase64.b64encode_as_string(values.astype("<f8", copy=False).tobytes())


def decode_answer(answer: Mapping[str, Any]) -> Answer:
    """Read the `answer` of a problem.

    Raises:
        Corrupt: parts are missing, are not base64, or their lengths do not agree.
    """
    try:
        if answer["format"] != "qp":
            raise Corrupt(f"an answer has format {answer['format']!r}, not qp")
        energies = np.frombuffer(_bytes(answer["energies"]), "<f8").astype(np.float64)
        active = np.frombuffer(_bytes(answer["active_variables"]), "<i4").astype(np.int32)
        packed = np.frombuffer(_bytes(answer["solutions"]), np.uint8)
        counted = answer.get("num_occurrences")
        occurrences = None if counted is None else np.frombuffer(_bytes(counted), "<i4").astype(np.int32)
        timing = {str(name): float(value) for name, value in answer.get("timing", {}).items()}
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
    return Answer(reads, energies, active, occurrences, timing)


def _bytes(text: Any) -> bytes:
    if not isinstance(text, str):
        raise Corrupt(f"the solver's answer holds {type(text).__name__} where base64 is due")
    try:
        return pybase64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise Corrupt("the solver's answer holds text that is not base64") from None
