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

FloatArray = NDArray[np.float64]

TYPES = ("ising", "qubo")
# Far above what any chip takes, far below where sums overflow.
_LARGEST = 1e100


@dataclass(frozen=True, eq=False)
class DecodedProblem:
    """The function that the QPU minimises.

        sum of linear[i] x[i] + sum of quadratic[k] x[edges[k, 0]] x[edges[k, 1]]

    Attributes:
        spins: whether x is -1 or 1 (type ising); otherwise x is 0 or 1 (type qubo).
        active: (n,) int32 qubits in use, ascending, n >= 1.
        linear: (n,) float64.
        edges: (m, 2) int32 positions in ``active``.
        quadratic: (m,) float64, all different from 0.
        groups: (m, 2) int32, see `EmulatedChip.groups`; None where a qubit has one group.
    """

    spins: bool
    active: IndexArray
    linear: FloatArray
    edges: IndexArray
    quadratic: FloatArray
    groups: IndexArray | None = None

    def ising(self) -> tuple[FloatArray, FloatArray]:
        """Return h (n,) and J (m,) of the same problem over spins, without the constant offset."""
        if self.spins:
            return self.linear, self.quadratic
        J = self.quadratic / 4
        return self.linear / 2 + self._incident(J), J

    def totals(self, J: FloatArray) -> FloatArray:
        """Return the sum of the couplings ``J`` in each qubit's group or groups, (n,) or (2n,)."""
        if self.groups is None:
            return self._incident(J)
        ends, n = 2 * self.edges + self.groups, 2 * len(self.active)
        return np.asarray(np.bincount(ends.ravel(), np.repeat(J, 2), n), dtype=np.float64)

    def energies(self, spins: NDArray[np.int8]) -> FloatArray:
        """Return energies (R,) of states ``spins`` (R, n) of -1 and 1, in the problem's own terms."""
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


def decode(data: object, kind: object, chip: EmulatedChip) -> DecodedProblem:
    """Decode the ``data`` of a submission of type ``kind`` for ``chip``.

    Raises:
        Rejected: the data are not in the encoding `qp`, do not fit the chip's graph, use no qubit, or have
            values that are not finite.
    """
    if kind not in TYPES:
        raise Rejected(f"Problem type ({kind!s:.80}) is not supported by the solver; it takes ising and qubo")
    if not isinstance(data, Mapping) or data.get("format") != "qp":
        raise Rejected("data must be an object with format qp")
    if not _is_finite(data.get("offset", 0)):
        raise Rejected(f"offset must be a finite number, not {data['offset']!r:.80}")
    linear_values = _doubles(data, "lin")
    if len(linear_values) != len(chip.qubits):
        raise Rejected(
            f"lin must have {len(chip.qubits):,} values, one for each working qubit, "
            f"not {len(linear_values):,}"
        )
    used = ~np.isnan(linear_values)
    linear = linear_values[used]
    if not len(linear):
        raise Rejected("the problem uses no qubit: all of lin is NaN")
    wiring, groups = _wiring(chip, used.tobytes())
    quadratic = _doubles(data, "quad")
    if len(quadratic) != (expected := len(wiring)):
        raise Rejected(f"quad must have {expected:,} values, one for each coupler of two used qubits, "
                       f"not {len(quadratic):,}")  # fmt: skip
    _check_size("lin", linear)
    _check_size("quad", quadratic)
    nonzero = quadratic != 0
    return DecodedProblem(
        kind == "ising",
        chip.qubits[used],
        linear,
        wiring[nonzero],
        quadratic[nonzero],
        None if groups is None else groups[nonzero],
    )


@lru_cache(maxsize=32)
def _wiring(chip: EmulatedChip, used: bytes) -> tuple[IndexArray, IndexArray | None]:
    """Return couplers (m, 2) int32 among used qubits, as positions, and their groups.

    They are cached, since clients repeat the same qubits.
    """
    mask = np.frombuffer(used, np.bool_)
    position = np.cumsum(mask, dtype=np.int32) - 1
    active = mask[chip.ends].all(axis=1)
    groups = None if chip.groups is None else chip.groups[active]
    return np.asarray(position[chip.ends[active]], dtype=np.int32), groups


def scale(problem: DecodedProblem, parameters: ProblemParameters, limits: Mapping[str, Any]) -> float:
    """Return the divisor of h and J for programming them within ``limits``.

    With auto_scale the largest value of ``problem`` fills its range, as does the sum of a qubit's couplings;
    a problem whose h and J are all 0 is not scaled. Without auto_scale in ``parameters`` the divisor is 1; h
    times its gain must be in range then, too.

    Raises:
        Rejected: without auto_scale, a value is out of the solver's range; or an h is not 0 in a fast anneal.
    """
    h, J = problem.ising()
    if parameters.fast and h.any():
        raise Rejected("fast_anneal needs every h to be 0 (in a QUBO: that of its Ising form)")
    if problem.groups is None:
        sums, coupling_range = "the sum of a qubit's J", limits["per_qubit_coupling_range"]
    else:
        sums, coupling_range = "the sum of J in a group of a qubit", limits["per_group_coupling_range"]
    ranges = [
        ("h", h, limits["h_range"]),
        ("J", J, limits["extended_j_range"]),
        (sums, problem.totals(J), coupling_range),
    ]
    if parameters.auto_scale:
        return max(_filling(values, *limit) for _, values, limit in ranges) or 1.0
    ranges += [("h times its gain", h * gain, limits["h_range"]) for _, gain in parameters.gain]
    for name, values, (low, high) in ranges:
        for value in (values.min(initial=0.0), values.max(initial=0.0)):
            if not low <= value <= high:
                raise Rejected(f"{name} must be {low:g} to {high:g} without auto_scale, not {value:g}")
    return 1.0


def _filling(values: FloatArray, low: float, high: float) -> float:
    """Return the factor by which the values exceed their range."""
    return max(float(values.min(initial=0.0)) / low, float(values.max(initial=0.0)) / high)


def _dot(weights: FloatArray, columns: NDArray[np.int8]) -> FloatArray:
    """Return weights (m,) @ columns (m, R), in blocks that fit the cache: numpy makes them float64 first."""
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
