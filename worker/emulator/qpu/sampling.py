"""Reads of a programmed problem: simulated annealing on the physical graph, or random bits for load tests.

Qubits are updated one by one, and chains as a whole (see `chains`): the reads of an anneal of usual length
have the Boltzmann distribution at the stated temperature, for long chains, too. A short anneal has fewer
updates and is read before it has reached it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from schema.errors import ParameterError
from worker.emulator.qpu.chains import Chains
from worker.emulator.qpu.parameters import UNUSED

if TYPE_CHECKING:
    from worker.emulator.qpu.imperfections import ProgrammedProblem
    from worker.emulator.qpu.parameters import ProblemParameters

SpinArray = NDArray[np.int8]

MODES = ("annealed", "instant")
# Where anneals begin, as a fraction of beta: at beta 5 and J = -1 a chain of two still turns over freely.
_HOT = 0.05
# The anneal fraction from which on the temperature is the stated one: where single qubits freeze out on
# D-Wave's QPUs (0.605 to 0.684 in solver_properties_specific.rst), which is where it was measured.
_COLD_FROM = 0.61
# The duration that the option of sweeps refers to, which is the solvers' default; sweeps are in proportion
# to the duration, up to this many times as many.
_NOMINAL_US = 20.0
_MOST_TIMES = 25
# Chains are updated after each second sweep, once they hold together: from this fraction of beta on.
_CHAINS_FROM = 0.25
# The h that equals a flux bias of 1 Phi_0 where the qubits of Advantage_system4 freeze: dwave-system says so.
_H_PER_FLUX = -2373.478


@dataclass(frozen=True)
class Sampling:
    """How reads are drawn.

    Attributes:
        mode: annealed, or instant: independent random bits, whatever h and J are.
        beta: > 0, inverse temperature at the end of an anneal for h and J *as programmed*, that is after
            scaling to the solver's ranges: a problem that fills them badly because of strong chains is read
            hot. None for that of each chip.
        sweeps: 1 to 100,000 updates of every qubit in an anneal of 20 us; others have more or fewer.
        seed: >= 0. The same problem has the same reads under the same seed, unless the chip drifts.

    Raises:
        ParameterError: a value is out of range.
    """

    mode: str = "annealed"
    beta: float | None = None
    sweeps: int = 16
    seed: int = 0

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise ParameterError(f"samples must be annealed or instant, not {self.mode!r}")
        if self.beta is not None and not 0 < self.beta <= 1000:
            raise ParameterError(f"beta must be over 0 and at most 1000, not {self.beta:g}")
        if not 1 <= self.sweeps <= 100_000:
            raise ParameterError(f"sweeps must be 1 to 100,000, not {self.sweeps:,}")
        if self.seed < 0:
            raise ParameterError(f"seed must be 0 or more, not {self.seed}")

    def stream(self, key: int, number: int = 0) -> np.random.Generator:
        """Return the stream of everything random of the problem with ``key``, or of that one time
        (``number``) that it is sent.
        """
        return np.random.Generator(np.random.SFC64(np.random.SeedSequence((self.seed, key, number))))


@dataclass(frozen=True)
class Sweep:
    """One update of every qubit, at an inverse temperature and a gain of h; ``chains``: then of every
    chain.
    """

    beta: float
    gain: float
    chains: bool


def draw(
    programmed: ProgrammedProblem,
    active: NDArray[np.int32],
    parameters: ProblemParameters,
    sweeps: list[Sweep],
    random: np.random.Generator,
    stop: Callable[[], bool],
) -> SpinArray:
    """Draw reads (R, n) of -1 and 1.

    Args:
        programmed: h and J as the chip has them.
        active: (n,) qubits of the lattice that the problem uses.
        parameters: number of reads, initial state, flux biases.
        sweeps: from `schedule`.
        random: the stream to draw from.
        stop: returns whether to give up; called between reads. There are fewer reads then.
    """
    # Here, since it imports dimod and networkx, which takes half of the start of an emulator.
    from dwave.samplers.sa.simulated_annealing import simulated_annealing

    states = random_spins(parameters.reads, len(active), random)
    if parameters.initial_state is not None:
        _start_from(states, parameters.initial_state[active])
    fields = programmed.offsets
    if parameters.flux_biases is not None:
        fields = fields + _H_PER_FLUX * parameters.flux_biases[active]
    chains = Chains.of(len(active), programmed.edges, programmed.nominal)
    # The compiled code copies from Python lists several times faster than from arrays.
    starts, ends = programmed.edges.T.tolist()
    couplings = programmed.J.tolist()
    for gain, betas, joined in _parts(sweeps, chained=bool(chains.colors)):
        h = gain * programmed.h + fields
        states, _ = simulated_annealing(
            len(states), h.tolist(), starts, ends, couplings,
            1, betas, int(random.integers(1, 1 << 63)), states, interrupt_function=stop,
        )  # fmt: skip
        states = np.asarray(states, dtype=np.int8)
        if len(states) < parameters.reads:
            break
        if joined:
            chains.update(states, h, programmed.J, betas[-1], random)
    return states


def schedule(sampling: Sampling, beta: float, parameters: ProblemParameters) -> list[Sweep]:
    """Return the sweeps of an anneal; each has the temperature and the gain of the moment at which it ends.

    The inverse temperature is a geometric function of the anneal fraction, up to ``beta``.

    Args:
        sampling: number of sweeps in a nominal anneal.
        beta: at the end.
        parameters: duration, anneal schedule and gain schedule of h.
    """
    duration = parameters.anneal_us or _NOMINAL_US
    times = min(duration / _NOMINAL_US, _MOST_TIMES)
    count = max(1, round(sampling.sweeps * times))
    ends = duration * np.arange(1, count + 1) / count
    fractions = _interpolate(ends, parameters.schedule or ((0.0, 0.0), (duration, 1.0)))
    betas = beta * _HOT ** (1 - np.minimum(1.0, fractions / _COLD_FROM))
    gains = _interpolate(ends, parameters.gain or ((0.0, 1.0),))
    joined = (betas >= _CHAINS_FROM * beta) & (np.arange(1, count + 1) % 2 == 0)
    return [Sweep(*values) for values in zip(betas.tolist(), gains.tolist(), joined.tolist(), strict=True)]


def _parts(sweeps: list[Sweep], *, chained: bool) -> Iterator[tuple[float, list[float], bool]]:
    """Return gain and inverse temperatures of sweeps up to the next update of chains or change of the gain,
    and whether chains are updated then.
    """
    betas: list[float] = []
    for sweep, following in zip(sweeps, [*sweeps[1:], None], strict=True):
        betas.append(sweep.beta)
        joined = chained and sweep.chains
        if joined or following is None or following.gain != sweep.gain:
            yield sweep.gain, betas, joined
            betas = []


def _interpolate(times: NDArray[np.float64], points: tuple[tuple[float, float], ...]) -> NDArray[np.float64]:
    knots, values = zip(*points, strict=True)
    return np.asarray(np.interp(times, knots, values), np.float64)


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
