"""Errors of a chip: what h and J become when they are programmed, and qubits that are read wrongly.

D-Wave calls these errors "integrated control errors" (errors.rst in the documentation of the Ocean SDK). h
and J are counted in the units of h and J on the chip here, not as shares of their ranges.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from schema.errors import ParameterError

if TYPE_CHECKING:
    from worker.emulator.qpu.chip import EmulatedChip
    from worker.emulator.qpu.problem import DecodedProblem, FloatArray

_FORGET = 10  # in times of the drift's memory: what is older counts 5e-5


@dataclass(frozen=True)
class ChipErrors:
    """Standard deviations of a chip's errors; all 0 for a perfect chip.

        h' = (h + U(h_dac)) (1 + N(h_slope)) + N(h_persistent) + drift + N(h_random) + h_from_j sum |J|
        J' = J + U(j_dac) + N(j_persistent) + N(j_random)
        h' += chi J' h',  J' += chi J'^2

    Attributes:
        h_persistent, j_persistent: the same for all problems on a working graph.
        h_drift: changes slowly, as 1/f flux noise does; autoregressive, with a memory of ``drift_problems``.
        h_random, j_random: drawn for each problem.
        h_slope: relative error of a qubit's h, the same for all problems.
        h_dac, j_dac: largest rounding error of the digital-to-analog converters.
        h_from_j: field on a qubit for each unit of its |J|: strong chains pull their qubits one way.
        flip: probability that a qubit is read wrongly.
        chi: background susceptibility; it couples next neighbors, which makes reads many times slower.
        drift_problems: see ``h_drift``.
        charge: relative standard deviation of a problem's QPU time from the timing model.

    Raises:
        ParameterError: a value is out of range.
    """

    h_persistent: float = 0.0
    h_drift: float = 0.0
    h_random: float = 0.0
    j_persistent: float = 0.0
    j_random: float = 0.0
    h_slope: float = 0.0
    h_dac: float = 0.0
    j_dac: float = 0.0
    h_from_j: float = 0.0
    flip: float = 0.0
    chi: float = 0.0
    drift_problems: float = 50.0
    charge: float = 0.0

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            low, high = _BOUNDS.get(name, (0.0, 1.0))
            if not low <= value <= high:
                raise ParameterError(f"the error {name} must be {low:g} to {high:g}, not {value:g}")


_BOUNDS = {"h_from_j": (-1.0, 1.0), "chi": (-0.2, 0.2), "drift_problems": (1.0, 1000.0), "charge": (0.0, 0.1)}

# Totals as in errors.rst: standard deviations of 0.01 to 0.025 (h) and 0.0095 to 0.0155 (J), 1/f noise of
# about 0.009, slopes that differ by 1 %, steps of converters, over 99 % of reads without a wrong qubit.
# Their split into persistent and random parts, the memory of the drift and h_from_j are our choices.
LIKE_ADVANTAGE = ChipErrors(
    h_persistent=0.015, h_drift=0.009, h_random=0.005, j_persistent=0.010, j_random=0.003, h_slope=0.01,
    h_dac=0.005, j_dac=0.002, h_from_j=-0.02, flip=0.0002, charge=0.001,
)  # fmt: skip
LIKE_ADVANTAGE2 = replace(LIKE_ADVANTAGE, h_drift=0.005)
_NAMED = {"none": ChipErrors(), "advantage": LIKE_ADVANTAGE, "advantage2": LIKE_ADVANTAGE2}


def parse(text: str, own: ChipErrors) -> ChipErrors:
    """Return the errors of ``text``: a name, values such as ``chi=-0.02``, or both, with commas between them.

    Values without a name change the chip's ``own`` errors.

    Raises:
        ParameterError: a name is unknown, or a value is not a number or out of range.
    """
    first, *_ = parts = text.split(",")
    if "=" not in first:
        if first not in _NAMED:
            raise ParameterError(
                f"unknown errors {first!r:.80}; available: {', '.join(_NAMED)}, or NAME=VALUE"
            )
        own, parts = _NAMED[first], parts[1:]
    known, values = {field.name for field in fields(ChipErrors)}, {}
    for part in parts:
        name, _, value = part.partition("=")
        if name not in known:
            raise ParameterError(f"a chip has no error {name!r:.80}; available: {', '.join(sorted(known))}")
        try:
            values[name] = float(value)
        except ValueError:
            raise ParameterError(f"the error {name} must be a number, not {value!r:.80}") from None
    return replace(own, **values)


@dataclass(frozen=True, eq=False)
class PersistentErrors:
    """Errors of a chip that are known, qubit by qubit; NaN where they are not, and drawn at random.

    Attributes:
        h: (Q,) of each qubit's field, in units of h.
        gains: (Q,) relative, of each qubit's h.
        J: (M,) of each coupler, in units of J.
        j_sd: standard deviation of couplers that are not known.
    """

    h: FloatArray
    gains: FloatArray
    J: FloatArray
    j_sd: float


@dataclass(frozen=True, eq=False)
class ProgrammedProblem:
    """h and J as a chip has them.

    Attributes:
        h: (n,) as scaled, with errors that its gain multiplies.
        offsets: (n,) fields that no gain multiplies.
        edges: (m,2) int32 positions of qubits; with chi there are more than the problem's, after these.
        J: (m,) with errors.
        nominal: (m,) J without errors.
    """

    h: FloatArray
    offsets: FloatArray
    edges: NDArray[np.int32]
    J: FloatArray
    nominal: FloatArray


class Imperfections:
    """The errors of one working graph."""

    def __init__(
        self,
        chip: EmulatedChip,
        errors: ChipErrors,
        generation: int,
        known: PersistentErrors | None = None,
    ) -> None:
        """Draw the persistent errors of ``chip``; its graph and the ``generation`` of the graph decide
        them, but for those that are ``known``.
        """
        self._chip, self._errors = chip, errors
        self._seed = (int(chip.graph_id, 16), generation)
        random = self._stream(0)
        self._slopes = random.normal(1.0, errors.h_slope, len(chip.qubits))
        self.persistent_h = random.normal(0.0, errors.h_persistent, len(chip.qubits))
        self._J = random.normal(0.0, errors.j_persistent, len(chip.couplers))
        if known is not None:
            drawn = random.normal(0.0, known.j_sd, len(chip.couplers))
            self._slopes = 1.0 + np.nan_to_num(known.gains)
            self.persistent_h = np.where(np.isnan(known.h), self.persistent_h, known.h)
            self._J = np.where(np.isnan(known.J), drawn, known.J)
        self._lock = threading.Lock()
        self._drift: tuple[int, int, FloatArray] | None = None

    def program(
        self, problem: DecodedProblem, scale: float, random: np.random.Generator, number: int = 0
    ) -> ProgrammedProblem:
        """Return ``problem``'s h and J, divided by ``scale``, as the chip has them.

        Args:
            problem: h and J, over spins or bits.
            scale: see `problem.scale`.
            random: the stream that the errors of this problem are drawn from.
            number: of the problem among all; the time that the drift counts.
        """
        h, J = (values / scale for values in problem.ising())
        errors, n, nominal, edges = self._errors, len(h), J, problem.edges
        if errors == ChipErrors():
            return ProgrammedProblem(h, np.zeros(n), edges, J, J)
        qubits = np.searchsorted(self._chip.qubits, problem.active)
        couplers = _couplers(self._chip, problem.active.tobytes(), edges.tobytes())
        h = (h + random.uniform(-errors.h_dac, errors.h_dac, n)) * self._slopes[qubits]
        pulled = np.bincount(edges.ravel(), np.repeat(np.abs(J), 2), n)
        offsets = (
            self.persistent_h[qubits] + random.normal(0.0, errors.h_random, n) + errors.h_from_j * pulled
        )
        if errors.h_drift:
            offsets += self._drift_at(number)[qubits]
        J = J + random.uniform(-errors.j_dac, errors.j_dac, len(J)) + self._J[couplers]
        J += random.normal(0.0, errors.j_random, len(J))
        if errors.chi:
            offsets += errors.chi * _neighbors_sum(h + offsets, edges, J)
            edges, J = _susceptible(edges, J, errors.chi)
            nominal = np.pad(nominal, (0, len(J) - len(nominal)))
        return ProgrammedProblem(h, offsets, edges, J, nominal)

    def misread(self, spins: NDArray[np.int8], random: np.random.Generator) -> None:
        """Flip qubits of ``spins`` (R, n) that are read wrongly, in place."""
        if self._errors.flip:
            count = random.binomial(spins.size, self._errors.flip)
            reads, qubits = np.unravel_index(random.choice(spins.size, count, replace=False), spins.shape)
            spins[reads, qubits] *= -1

    def _stream(self, number: int) -> np.random.Generator:
        return np.random.default_rng(np.random.SeedSequence(self._seed, spawn_key=(number,)))

    def _drift_at(self, number: int) -> FloatArray:
        """Return the drifting part of all qubits' h when problem ``number`` is programmed.

        It is computed from the same beginning whatever was asked for before.
        """
        errors = self._errors
        memory = int(_FORGET * errors.drift_problems)
        begin = (number // memory - 1) * memory
        kept = float(np.exp(-1 / errors.drift_problems))
        with self._lock:
            at, drift = begin, np.zeros(len(self._chip.qubits))
            if self._drift is not None and self._drift[0] == begin and self._drift[1] <= number:
                _, at, drift = self._drift
            while at < number:
                at += 1
                step = self._stream(1 + memory + at).normal(0.0, errors.h_drift, len(drift))
                drift = kept * drift + np.sqrt(1 - kept**2) * step
            self._drift = begin, at, drift
        return drift


def misprogrammed(
    programmed: ProgrammedProblem, share: float, limits: dict[str, Any], random: np.random.Generator
) -> ProgrammedProblem:
    """Return a problem that was programmed wrongly: Gaussian errors on all of its h and J.

    Over 90 % of problems on a whole chip are programmed without an error (errors.rst).

    Args:
        programmed: as it should be.
        share: standard deviation of the errors, as a share of the largest |h| and |J| that ``limits`` allow.
        limits: properties of the solver.
        random: the stream to draw from.
    """
    sigma_h, sigma_j = (share * max(map(abs, limits[name])) for name in ("h_range", "extended_j_range"))
    return replace(
        programmed,
        h=programmed.h + random.normal(0.0, sigma_h, len(programmed.h)),
        J=programmed.J + random.normal(0.0, sigma_j, len(programmed.J)),
    )


@lru_cache(maxsize=8)
def _couplers(chip: EmulatedChip, active: bytes, edges: bytes) -> NDArray[np.intp]:
    """Return the chip's coupler of each edge; cached, since clients repeat the same qubits."""
    pairs = np.frombuffer(active, np.int32)[np.frombuffer(edges, np.int32).reshape(-1, 2)].astype(np.int64)
    codes = chip.couplers.astype(np.int64) @ (chip.size, 1)
    return np.searchsorted(codes, np.sort(pairs, axis=1) @ (chip.size, 1))


def _neighbors_sum(values: FloatArray, edges: NDArray[np.int32], J: FloatArray) -> FloatArray:
    """Return J @ values of the symmetric matrix J."""
    one, other = edges.T
    n = len(values)
    sums = np.bincount(one, J * values[other], n) + np.bincount(other, J * values[one], n)
    return np.asarray(sums, np.float64)


def _susceptible(edges: NDArray[np.int32], J: FloatArray, chi: float) -> tuple[NDArray[np.int32], FloatArray]:
    """Return the couplers of J + chi J^2, the given ones first.

    This is `dwave.system.temperatures.background_susceptibility_ising`.
    """
    ends, others, weights = np.ravel(edges.T), np.ravel(edges[:, ::-1].T), np.tile(J, 2)
    order = np.argsort(ends, kind="stable")
    degrees = np.bincount(ends)
    groups = np.split(order, np.cumsum(degrees)[:-1])
    firsts = np.concatenate([group[np.triu_indices(len(group), 1)[0]] for group in groups])
    seconds = np.concatenate([group[np.triu_indices(len(group), 1)[1]] for group in groups])
    pairs = np.concatenate([edges, np.column_stack([others[firsts], others[seconds]])]).astype(np.int64)
    pairs.sort(axis=1)
    values = np.concatenate([J, chi * weights[firsts] * weights[seconds]])
    codes, first, inverse = np.unique(pairs @ (len(degrees), 1), return_index=True, return_inverse=True)
    rank = np.argsort(np.argsort(first))
    summed = np.bincount(rank[inverse], values, len(codes)).astype(np.float64)
    return pairs[np.sort(first)].astype(np.int32), summed
