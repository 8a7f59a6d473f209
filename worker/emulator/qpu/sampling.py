"""Reads of a problem: simulated annealing on the physical graph, or random bits for load tests."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np
from dwave.samplers.sa.simulated_annealing import simulated_annealing
from numpy.typing import NDArray

from schema.errors import ParameterError
from worker.emulator.qpu.parameters import UNUSED

if TYPE_CHECKING:
    from worker.emulator.qpu.parameters import ProblemParameters
    from worker.emulator.qpu.problem import DecodedProblem, FloatArray

SpinArray = NDArray[np.int8]

MODES = ("annealed", "instant")
# Where anneals begin, as a fraction of beta: at beta 5 and J = -1 a chain of two still turns over freely.
_HOT = 0.05
# The h that equals a flux bias of 1 Phi_0 where the qubits of Advantage_system4 freeze: dwave-system says so.
_H_PER_FLUX = -2373.478


@dataclass(frozen=True)
class Sampling:
    """How reads are drawn.

    Attributes:
        mode: annealed, or instant: independent random bits, whatever h and J are.
        beta: > 0, inverse temperature at the end of an anneal for h and J *as programmed*, that is after
            scaling
            to the solver's ranges: a problem that fills them badly because of strong chains is read hot.
        noise: 0 to 1, standard deviation of the errors of h and of J as a fraction of the largest |h| and |J|
            that can be programmed; drawn once for each problem, since a QPU is programmed once.
        sweeps: 1 to 100,000 updates of every qubit in an anneal.
        seed: >= 0. The same problem has the same reads under the same seed.

    Raises:
        ParameterError: a value is out of range.
    """

    mode: str = "annealed"
    beta: float = 5.0
    noise: float = 0.01
    sweeps: int = 32
    seed: int = 0

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise ParameterError(f"samples must be annealed or instant, not {self.mode!r}")
        if not 0 < self.beta <= 1000:
            raise ParameterError(f"beta must be over 0 and at most 1000, not {self.beta:g}")
        if not 0 <= self.noise <= 1:
            raise ParameterError(f"noise must be 0 to 1, a fraction of the ranges, not {self.noise:g}")
        if not 1 <= self.sweeps <= 100_000:
            raise ParameterError(f"sweeps must be 1 to 100,000, not {self.sweeps:,}")
        if self.seed < 0:
            raise ParameterError(f"seed must be 0 or more, not {self.seed}")


@dataclass(frozen=True, eq=False)
class Programmed:
    """h (n,) and J (m,) as the chip has them: scaled, with errors."""

    h: FloatArray
    J: FloatArray


def draw(
    problem: DecodedProblem,
    parameters: ProblemParameters,
    scale: float,
    limits: dict[str, Any],
    sampling: Sampling,
    key: int,
    stop: Callable[[], bool],
) -> SpinArray:
    """Draw reads (R, n) of -1 and 1.

    Args:
        problem: h and J, over spins or bits.
        parameters: number of reads, initial state, schedule, flux biases, gain of h.
        scale: divisor of h and J, from `problem.scale`.
        limits: largest |h| and |J| that can be programmed.
        sampling: mode, temperature, noise, sweeps and seed.
        key: >= 0, stands for the problem: with the seed it decides everything random.
        stop: returns whether to give up; called between reads. There are fewer reads then.
    """
    random = np.random.Generator(np.random.SFC64(np.random.SeedSequence((sampling.seed, key))))
    states = random_spins(parameters.reads, len(problem.active), random)
    if sampling.mode == "instant":
        return states
    programmed = program(problem, scale, limits, sampling.noise, random)
    fields = np.zeros(len(problem.active))
    if parameters.flux_biases is not None:
        fields = _H_PER_FLUX * parameters.flux_biases[problem.active]
    betas = schedule(sampling, parameters.turning_point)
    if parameters.initial_state is not None:
        _start_from(states, parameters.initial_state[problem.active])
    # The compiled code copies from Python lists several times faster than from arrays.
    starts, ends = problem.edges.T.tolist()
    for gain, part in _by_gain(betas, parameters.gain):
        h = (gain * programmed.h + fields).tolist()
        states, _ = simulated_annealing(
            len(states), h, starts, ends, programmed.J.tolist(),
            1, part, int(random.integers(1, 1 << 63)), states, interrupt_function=stop,
        )  # fmt: skip
    return np.asarray(states, dtype=np.int8)


def program(
    problem: DecodedProblem, scale: float, limits: dict[str, Any], noise: float, random: np.random.Generator
) -> Programmed:
    """Return ``problem``'s h and J divided by ``scale``, with a Gaussian error of ``noise`` times ``limits``
    on each.

    ``random`` is the stream that the errors are drawn from.
    """
    h, J = problem.ising()
    if noise == 0:
        return Programmed(h / scale, J / scale)
    sigma_h = noise * max(abs(limit) for limit in limits["h_range"])
    sigma_j = noise * max(abs(limit) for limit in limits["extended_j_range"])
    return Programmed(
        h / scale + random.normal(0.0, sigma_h, len(h)), J / scale + random.normal(0.0, sigma_j, len(J))
    )


def schedule(sampling: Sampling, turning_point: float) -> list[float]:
    """Return the inverse temperatures of the sweeps of ``sampling``: geometric up to beta.

    A reverse anneal (``turning_point`` above 0) starts at its turning point.
    """
    fractions = np.geomspace(max(_HOT, turning_point), 1.0, sampling.sweeps)
    return [float(beta) for beta in sampling.beta * fractions]


def _by_gain(betas: list[float], gain: tuple[tuple[float, float], ...]) -> list[tuple[float, list[float]]]:
    """Return the sweeps in runs of the same gain of h; a sweep has the gain at its end."""
    if not gain:
        return [(1.0, betas)]
    times, values = zip(*gain, strict=True)
    ends = times[-1] * np.arange(1, len(betas) + 1) / len(betas)
    gains = np.interp(ends, times, values).tolist()
    runs = groupby(zip(gains, betas, strict=True), key=lambda pair: pair[0])
    return [(value, [beta for _, beta in run]) for value, run in runs]


def random_spins(reads: int, qubits: int, random: np.random.Generator) -> SpinArray:
    """Draw independent fair spins (reads, qubits) int8 from ``random``, for ``reads`` reads of ``qubits``
    qubits.
    """
    bits = np.unpackbits(np.frombuffer(random.bytes(-(-reads * qubits // 8)), np.uint8), count=reads * qubits)
    spins = bits.view(np.int8)
    spins *= 2
    spins -= 1
    return spins.reshape(reads, qubits)


def _start_from(states: SpinArray, initial_state: SpinArray) -> None:
    """Set all reads to ``initial_state``; qubits without a state stay random."""
    is_set = initial_state != UNUSED
    states[:, is_set] = np.where(initial_state[is_set] > 0, 1, -1)
