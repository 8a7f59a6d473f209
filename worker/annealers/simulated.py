"""Simulated annealing on the processor, by dwave-samplers (formerly dwave-neal).

The library's compiled function is called directly, for each image: couplers and temperatures are prepared
once for each batch, and only h changes. Its sampler class would rebuild both for every image.
"""

from __future__ import annotations

from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np
from dwave.samplers.sa.simulated_annealing import simulated_annealing

from schema.errors import ParameterError, Refused
from schema.parameters import MAX_SWEEPS
from worker.annealers.base import LogicalSamples, check_request, coupling_scales, image_words, no_interrupt
from worker.qubo.ising import bits_of, spin_form, spins_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from worker.qubo.energy_model import EnergyModel, FloatArray
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


@dataclass(frozen=True)
class SimulatedAnnealer:
    """Metropolis annealing from random states, ``sweeps`` updates of every unit for a read.

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
        states, seeds = _initial_states(model.units, len(linear), reads, seed, first_image)
        spin = spin_form(linear, model.edges, model.couplings)
        # The compiled code copies from Python lists several times faster than from arrays.
        starts, ends = model.edges.T.tolist()
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

        if self.threads == 1:
            for image in range(len(states)):
                anneal(image)
        else:
            with ThreadPoolExecutor(self.threads) as pool:
                deque(pool.map(anneal, range(len(states))), maxlen=0)
        bits = bits_of(states)
        return LogicalSamples(bits, model.energies(linear, bits), perf_counter() - started)


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
