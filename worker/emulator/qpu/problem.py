"""The h and J of a problem, decoded from SAPI's encoding `qp` and checked against the solver."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from worker.emulator.qpu.errors import Rejected

if TYPE_CHECKING:
    from worker.emulator.qpu.chip import EmulatedChip, IndexArray
    from worker.emulator.qpu.parameters import ProblemParameters
    from worker.emulator.qpu.solver import EmulatedSolver

FloatArray = NDArray[np.float64]

TYPES = ("ising", "qubo")
# Far above what any chip takes, far below where sums overflow.
_LARGEST = 1e100


@dataclass(frozen=True, eq=False)
class DecodedProblem:
    """What is to be minimised: sum of linear[i] x[i] + sum of quadratic[k] x[edges[k, 0]] x[edges[k, 1]].

    spins: whether x is -1 or 1 (type ising), else it is 0 or 1 (type qubo).
    active: (n,) int32 qubits in use, ascending, n >= 1. linear: (n,) float64.
    edges: (m, 2) int32 positions in ``active``. quadratic: (m,) float64, none of them 0.
    """

    spins: bool
    active: IndexArray
    linear: FloatArray
    edges: IndexArray
    quadratic: FloatArray

    def ising(self) -> tuple[FloatArray, FloatArray]:
        """h (n,) and J (m,) of the same problem over spins; the constant that it differs by is left out."""
        if self.spins:
            return self.linear, self.quadratic
        J = self.quadratic / 4
        return self.linear / 2 + self._incident(J), J

    def totals(self, J: FloatArray) -> FloatArray:
        """Sum of the couplings of each qubit (n,)."""
        return self._incident(J)

    def energies(self, spins: NDArray[np.int8]) -> FloatArray:
        """Energies (R,) of states (R, n) of -1 and 1, in the problem's own terms."""
        columns = (
            np.ascontiguousarray(spins.T) if self.spins else np.ascontiguousarray(spins.T > 0).view(np.int8)
        )
        pairs = columns[self.edges[:, 0]] * columns[self.edges[:, 1]]
        linear = self.linear.astype(np.float64) @ columns
        return np.asarray(linear + _dot(self.quadratic, pairs), dtype=np.float64)

    def _incident(self, J: FloatArray) -> FloatArray:
        n = len(self.active)
        total = np.bincount(self.edges[:, 0], J, n) + np.bincount(self.edges[:, 1], J, n)
        return np.asarray(total, dtype=np.float64)


def decode(data: object, kind: object, solver: EmulatedSolver) -> DecodedProblem:
    """Read the ``data`` and ``type`` of a submission.

    Raises Rejected when they are not in the encoding `qp`, do not fit the solver's graph, use no qubit, or
    have values that are not finite.
    """
    if kind not in TYPES:
        raise Rejected(f"this solver takes problems of type ising or qubo, not {kind!r:.80}")
    if not isinstance(data, Mapping) or data.get("format") != "qp":
        raise Rejected("data must be an object with format qp")
    if not _is_finite(data.get("offset", 0)):
        raise Rejected(f"offset must be a finite number, not {data['offset']!r:.80}")
    chip = solver.chip
    given = _doubles(data, "lin")
    if len(given) != len(chip.qubits):
        raise Rejected(
            f"lin must have {len(chip.qubits):,} values, one for each working qubit, not {len(given):,}"
        )
    used = ~np.isnan(given)
    linear = given[used]
    if not len(linear):
        raise Rejected("the problem uses no qubit: all of lin is NaN")
    wiring = _wiring(chip, used.tobytes())
    quadratic = _doubles(data, "quad")
    if len(quadratic) != (expected := len(wiring)):
        raise Rejected(f"quad must have {expected:,} values, one for each coupler of two used qubits, "
                       f"not {len(quadratic):,}")  # fmt: skip
    _check_size("lin", linear)
    _check_size("quad", quadratic)
    nonzero = quadratic != 0
    return DecodedProblem(kind == "ising", chip.qubits[used], linear, wiring[nonzero], quadratic[nonzero])


@lru_cache(maxsize=32)
def _wiring(chip: EmulatedChip, used: bytes) -> IndexArray:
    """Couplers (m, 2) int32 of used qubits, by their places among these: clients send the same ones often."""
    mask = np.frombuffer(used, np.bool_)
    position = np.cumsum(mask, dtype=np.int32) - 1
    return np.asarray(position[chip.ends[mask[chip.ends].all(axis=1)]], dtype=np.int32)


def scale(problem: DecodedProblem, parameters: ProblemParameters, limits: Mapping[str, Any]) -> float:
    """By what h and J are divided when they are programmed.

    With auto_scale that makes the largest of them fill its range, as does the sum of a qubit's couplings; a
    problem without any h and J is not scaled. Without it 1.

    Raises Rejected when, without auto_scale, a value is out of the solver's range.
    """
    h, J = problem.ising()
    ranges = [
        ("h", h, limits["h_range"]),
        ("J", J, limits["extended_j_range"]),
        ("the sum of a qubit's J", problem.totals(J), limits["per_qubit_coupling_range"]),
    ]
    if parameters.auto_scale:
        return max(_filling(values, *limit) for _, values, limit in ranges) or 1.0
    for name, values, (low, high) in ranges:
        for value in (values.min(initial=0.0), values.max(initial=0.0)):
            if not low <= value <= high:
                raise Rejected(f"{name} must be {low:g} to {high:g} without auto_scale, not {value:g}")
    return 1.0


def _filling(values: FloatArray, low: float, high: float) -> float:
    """The factor by which the values are larger than their range."""
    return max(float(values.min(initial=0.0)) / low, float(values.max(initial=0.0)) / high)


def _dot(weights: FloatArray, columns: NDArray[np.int8]) -> FloatArray:
    """weights (m,) @ columns (m, R), in blocks that stay in the cache: numpy makes them float64 first."""
    total = np.zeros(columns.shape[1])
    for start in range(0, len(weights), 1024):
        total += weights[start : start + 1024] @ columns[start : start + 1024]
    return total


def _doubles(data: Mapping[str, Any], name: str) -> FloatArray:
    text = data.get(name)
    if not isinstance(text, str):
        raise Rejected(f"{name} must be base64 text, not {type(text).__name__}")
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise Rejected(f"{name} is not base64: {error}") from error
    if len(raw) % 8:
        raise Rejected(f"{name} must be doubles of 8 bytes each, not {len(raw):,} bytes")
    return np.frombuffer(raw, "<f8").astype(np.float64, copy=False)


def _check_size(name: str, values: FloatArray) -> None:
    wrong = ~(np.abs(values) <= _LARGEST)
    if wrong.any():
        raise Rejected(f"{name} must have finite values up to {_LARGEST:g}, not {values[wrong][0]:g}")


def _is_finite(value: Any) -> bool:
    return type(value) in {int, float} and abs(value) <= _LARGEST
