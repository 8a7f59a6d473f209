"""A problem as it was on the chip: its qubits, and their h and J in SPIN form, scaled.

Spins that a gauge reversed are turned back, in the biases as in the stored reads: energies are the same to
the bit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import dimod
import numpy as np
from numpy.typing import NDArray

from worker.ocean.models import quadratic_model

if TYPE_CHECKING:
    from worker.sapi.program import ChipProgram

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class SentQubits:
    """The qubits in use and their biases.

    Attributes:
        qubits: (A,) int32, ascending, as the columns of the reads.
        tiles: (A,) intp, the tile of each.
        h: (A,) float64.
        couplers: (P, 2) intp, as indices into ``qubits``; those that serve no edge and no chain have J = 0,
            and are left out.
        J: (P,) float64.
    """

    qubits: NDArray[np.int32]
    tiles: NDArray[np.intp]
    h: FloatArray
    couplers: NDArray[np.intp]
    J: FloatArray

    def on_tile(self, tile: int) -> SentQubits:
        """Return the part of it that is on one tile."""
        here = self.tiles == tile
        place = np.cumsum(here) - 1
        inside = here[self.couplers].all(axis=1)
        couplers = place[self.couplers[inside]]
        return SentQubits(self.qubits[here], self.tiles[here], self.h[here], couplers, self.J[inside])

    def bqm(self) -> dimod.BinaryQuadraticModel:
        """Return it as a BQM (SPIN) whose variables are the numbers of qubits."""
        return quadratic_model(self.h, self.couplers, self.J, self.qubits.tolist(), dimod.SPIN)


def chip_problem(
    program: ChipProgram, linear: FloatArray, coupling_bias: float, signs: FloatArray | None
) -> SentQubits:
    """Return the problem that was sent with ``program``.

    Args:
        program: of the problem's k images.
        linear: (k, n) float64, their linear terms (BINARY).
        coupling_bias: for which h made up; see `ChipProgram.linear_biases`.
        signs: (k, 1) or (k, n) of its chains; see `gauges`.
    """
    placement = program.placement
    sent = program.linear_biases(linear, coupling_bias, signs)[placement.slots]
    if signs is not None:
        sent = sent * program.signs_of_chains(signs)[placement.owners]
    size = len(placement.active)
    h, tiles = np.empty(size), np.empty(size, np.intp)
    h[placement.columns] = sent
    tiles[placement.columns] = placement.owners // placement.tiling.units
    joined = placement.is_used
    couplers = np.searchsorted(placement.active, placement.couplers[joined])
    return SentQubits(placement.active, tiles, h, couplers, program.couplings[joined])
