"""Field errors and broken chains of each chain of a chip, from the reads of many problems.

A unit whose qubits have another field than was sent points too often one way. With the local field f of a
unit as it was sent, and its reads s in {-1, +1}, the log of the pseudolikelihood is the sum of
log(1 / (1 + exp(2 beta s f))) (Besag 1975). By one step of Newton's method from d = 0, with the sums over all
reads of all problems and a Gaussian prior of standard deviation D, the additional field d of a chain is

    d = -sum beta (s - t) / (1 / D^2 + sum beta^2 (1 - t^2)),  t = tanh(-beta f)

with the standard error 1 / sqrt of the divisor. The prior makes d small where reads hardly ever leave their
fields, and so say nothing. What is drawn anew for each problem averages out, and errors that persist remain:
those of h, and those of J times the mean of the other unit.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from worker.compute.problem_checks import SentProblem

FloatArray = NDArray[np.float64]

_PRIOR_SD = 0.05  # of the field error of a chain, in units of h; D-Wave states 0.01 to 0.025 for a qubit


class ChainTotals:
    """Sums over problems for each chain of k tiles of n units; each array is (k, n) float64."""

    def __init__(self, tiles: int, units: int) -> None:
        shape = (tiles, units)
        self._slope, self._information = np.zeros(shape), np.zeros(shape)
        self._broken, self._reads = np.zeros(shape), np.zeros(shape)

    def add(
        self,
        tiles: NDArray[np.intp],
        bits: NDArray[np.uint8],
        chain_breaks: FloatArray,
        sent: SentProblem,
        beta: float,
        coupling_bias: float,
        signs: FloatArray | None = None,
    ) -> None:
        """Add a problem.

        Args:
            tiles: (i,) tile of each image; each tile at most once.
            bits: (i, R, n) uint8, reads of its units.
            chain_breaks: (i, n), share of reads in which each chain is broken.
            sent: the problem.
            beta: measured inverse temperature.
            coupling_bias: measured field of |J| = 1 at a qubit.
            signs: (i, 1) or (i, n), -1 where spins were reversed when it was sent; see `gauges`.
        """
        spins = bits.astype(np.float32) * np.float32(2.0) - np.float32(1.0)
        sums = (sent.h + coupling_bias * sent.coupled).astype(np.float32)
        expected = np.tanh(-beta * (spins @ sent.J.astype(np.float32) + sums[:, np.newaxis]))
        # A field of the chip points the other way for a spin that was reversed.
        surplus = (spins - expected).sum(axis=1, dtype=np.float64)
        self._slope[tiles] -= beta * (surplus if signs is None else signs * surplus)
        self._information[tiles] += beta**2 * (1.0 - expected**2).sum(axis=1, dtype=np.float64)
        self._broken[tiles] += chain_breaks * bits.shape[1]
        self._reads[tiles] += bits.shape[1]

    def field_errors(self) -> tuple[FloatArray, FloatArray]:
        """Return the field errors (k, n) in units of h, and their standard errors; infinite without reads."""
        divisor = self._information + _PRIOR_SD**-2.0
        return self._slope / divisor, np.where(self._reads > 0, divisor**-0.5, np.inf)

    def broken(self) -> FloatArray:
        """Return the share of broken chains (k, n), relative to the mean of the unit over all tiles.

        NaN for chains without reads, and of units of which no chain ever broke.
        """
        with np.errstate(invalid="ignore", divide="ignore"):
            usual = self._broken.sum(axis=0) / self._reads.sum(axis=0)
            return np.asarray(self._broken / self._reads / usual, np.float64)
