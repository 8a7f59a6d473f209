"""Draws the reads of images by the annealers of this process, as bytes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from isal import isal_zlib
from numpy.typing import NDArray

from schema.codecs import samples
from schema.parameters import Parameters, Solver
from worker.annealers.base import LocalAnnealer
from worker.annealers.exact import ExactAnnealer
from worker.annealers.simulated import SimulatedAnnealer
from worker.qubo.energy_model import EnergyModel
from worker.qubo.noise import noise_for


@dataclass(frozen=True, eq=False)
class LocalReads:
    """Raw reads as bytes, the number of their variables, and the time inside the annealer."""

    data: bytes
    variables: int
    sampling_us: int


def local_annealer(solver: Solver, parameters: Parameters) -> LocalAnnealer:
    """Return the annealer of this process for ``solver``, with the sweeps of ``parameters``."""
    if solver is Solver.EXACT:
        return ExactAnnealer()
    return SimulatedAnnealer() if parameters.sweeps is None else SimulatedAnnealer(sweeps=parameters.sweeps)


def sweeps(solver: Solver, parameters: Parameters) -> int:
    """Return the sweeps of a read of ``solver`` with ``parameters``; 1 if it has none."""
    local = local_annealer(solver, parameters)
    return local.sweeps if isinstance(local, SimulatedAnnealer) else 1


def draw_reads(
    annealer: LocalAnnealer,
    parameters: Parameters,
    model: EnergyModel,
    linear: NDArray[np.float64],
    first_image: int,
    alpha: float,
    check_interrupt: Callable[[], None] | None = None,
) -> LocalReads:
    """Draw the reads of images whose linear terms under ``model`` are ``linear`` (B, n), by ``annealer``.

    What ``check_interrupt`` raises between images ends it. Feature values lie in [-``alpha``, ``alpha``].
    Random streams follow from the seed in ``parameters`` and from ``first_image``, the number of the first.

    Raises:
        Refused: the annealer cannot take this network.
    """
    noise = noise_for(model, alpha, parameters.noise, parameters.seed)
    reads = annealer.sample(
        model, linear, parameters.reads, parameters.seed, first_image, noise, check_interrupt
    )
    data = samples.encode(samples.RawReads.of(reads.bits, reads.energies), isal_zlib.compress)
    return LocalReads(data, model.units, round(reads.elapsed_s * 1e6))
