"""Simulated annealing on the processor: heads by block Gibbs sampling, other models by dwave-samplers.

dwave-samplers (formerly dwave-neal) anneals unit after unit. Its compiled function is called directly, for
each image: couplers and temperatures are prepared once for each batch, and only h changes. Its sampler class
would rebuild both for every image. Heads are cheaper by `heads.py`: tests/benchmarks/test_annealers.py.
"""

from __future__ import annotations

from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np

from schema.errors import ParameterError, Refused
from schema.parameters import MAX_SWEEPS
from worker.annealers.base import LogicalSamples, check_request, coupling_scales, image_words, no_interrupt
from worker.annealers.heads import ROWS, HeadCouplings, anneal_head, words_for
from worker.qubo.ising import bits_of, spin_form, spins_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from worker.qubo.energy_model import BitArray, EnergyModel, FloatArray
    from worker.qubo.ising import SpinArray
    from worker.qubo.noise import Noise

# Energies use a dense Q: 10,000 units are 800 MB of it.
MAX_UNITS = 10_000
MAX_THREADS = 64
# The last sweeps only accept lower energies: they take a read to the local minimum.
_DESCENTS = 2
# First and last inverse temperature, in units of the model's largest and smallest scale. Chosen, like the
# default number of sweeps, by tests/benchmarks/test_annealers.py.
_HOT = 2.0
_COLD = 10.0
_HEAD_LAYERS = 2  # visible and class units


@dataclass(frozen=True)
class SimulatedAnnealer:
    """Annealing from random states, ``sweeps`` updates of every unit for a read.

    Raises:
        ParameterError: a parameter is out of range.
    """

    sweeps: int = 40  # 1 to 1,000,000, the last two downhill only
    threads: int = 1  # 1 to 64; the compiled code runs outside the interpreter's lock

    def __post_init__(self) -> None:
        if not 1 <= self.sweeps <= MAX_SWEEPS:
            raise ParameterError(f"sweeps must be 1 to {MAX_SWEEPS:,}, not {self.sweeps:,}")
        if not 1 <= self.threads <= MAX_THREADS:
            raise ParameterError(f"threads must be 1 to {MAX_THREADS}, not {self.threads}")

    @property
    def name(self) -> str:
        """Return ``local``: it works for every model, and needs no QPU."""
        return "local"

    def check(self, model: EnergyModel) -> None:
        """Raise Refused if ``model`` has more than 10,000 units."""
        if model.units > MAX_UNITS:
            raise Refused(f"the model has {model.units:,} units; the local annealer takes {MAX_UNITS:,}")

    def sample(
        self,
        model: EnergyModel,
        linear: FloatArray,
        reads: int,
        seed: int,
        first_image: int = 0,
        noise: Noise | None = None,
        check_interrupt: Callable[[], None] | None = None,
    ) -> LogicalSamples:
        """Draw ``reads`` reads of each image of ``linear`` under ``model``, as `LocalAnnealer.sample` says.

        ``seed``, ``first_image``, ``noise`` and ``check_interrupt`` are explained there.
        """
        check_request(model, linear, reads, seed, first_image)
        self.check(model)
        started, check_interrupt = perf_counter(), check_interrupt or no_interrupt
        anneal = self._anneal_heads if len(model.sizes) == _HEAD_LAYERS else self._anneal_units
        bits = anneal(model, linear, reads, seed, first_image, noise, check_interrupt)
        return LogicalSamples(bits, model.energies(linear, bits), perf_counter() - started)

    def _anneal_heads(
        self,
        model: EnergyModel,
        linear: FloatArray,
        reads: int,
        seed: int,
        first_image: int,
        noise: Noise | None,
        check_interrupt: Callable[[], None],
    ) -> BitArray:
        """Anneal by `heads.py`, some images at once; one image if noise changes its couplings."""
        betas = beta_schedule(model, self.sweeps)
        words = words_for(reads, model.units, self.sweeps)
        bits = np.empty((len(linear), reads, model.units), dtype=np.uint8)
        together = 1 if noise is not None else max(1, ROWS // reads)
        shared = HeadCouplings.of(model)

        def anneal(first: int) -> None:
            block, couplings, rows = slice(first, first + together), shared, linear[first : first + together]
            if noise is not None:
                noisy, row = noise.apply(model, linear[first], first_image + first)
                couplings, rows = HeadCouplings.of(noisy), row[np.newaxis]
            streams = [
                np.random.PCG64DXSM(seed).advance((first_image + first + image) * words)
                for image in range(len(rows))
            ]
            bits[block] = anneal_head(couplings, rows, reads, betas, streams, check_interrupt)

        self._in_threads(anneal, range(0, len(linear), together))
        return bits

    def _anneal_units(
        self,
        model: EnergyModel,
        linear: FloatArray,
        reads: int,
        seed: int,
        first_image: int,
        noise: Noise | None,
        check_interrupt: Callable[[], None],
    ) -> BitArray:
        """Anneal by the library, image by image."""
        states, seeds = _initial_states(model.units, len(linear), reads, seed, first_image)
        spin = spin_form(linear, model.edges, model.couplings)
        # The compiled code copies from Python lists several times faster than from arrays.
        starts, ends = model.edges.T.tolist()
        # Here, since it imports dimod and networkx, which heads of two layers do without.
        from dwave.samplers.sa.simulated_annealing import simulated_annealing

        weights, betas = spin.J.tolist(), beta_schedule(model, self.sweeps).tolist()

        def anneal(image: int) -> None:
            check_interrupt()
            h, J = spin.h[image], weights
            if noise is not None:
                h_error, J_error = noise.errors(model, first_image + image)
                h, J = h + h_error, (spin.J + J_error).tolist()
            simulated_annealing(
                reads, h.tolist(), starts, ends, J,
                1, betas, int(seeds[image]), states[image],
            )  # fmt: skip

        self._in_threads(anneal, range(len(states)))
        return bits_of(states)

    def _in_threads(self, anneal: Callable[[int], None], starts: range) -> None:
        if self.threads == 1:
            for start in starts:
                anneal(start)
        else:
            with ThreadPoolExecutor(self.threads) as pool:
                deque(pool.map(anneal, starts), maxlen=0)


def beta_schedule(model: EnergyModel, sweeps: int) -> FloatArray:
    """Return inverse temperatures (``sweeps``,) float64: geometric from hot to cold, then infinite.

    They depend on ``model`` alone: all images have the same temperatures. The first sweep is never infinite.
    """
    smallest, largest = coupling_scales(model)
    descents = min(_DESCENTS, sweeps - 1)
    annealing = np.geomspace(_HOT / largest, _COLD / smallest, sweeps - descents)
    return np.concatenate((annealing, np.full(descents, np.inf)))


def _initial_states(
    units: int, images: int, reads: int, seed: int, first_image: int
) -> tuple[SpinArray, NDArray[np.uint64]]:
    """Return random spins (B, R, n) int8, and a seed > 0 for each image's anneals (B,) uint64."""
    words = image_words(seed, first_image, images, 1 + -(-reads * units // 64))
    bits = np.unpackbits(words[:, 1:].view(np.uint8), axis=1, count=reads * units)
    return spins_of(bits.reshape(images, reads, units)), np.maximum(words[:, 0], 1)
