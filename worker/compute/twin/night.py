"""The reads of one embedding over a night, unit by unit, as they were on the chip.

Where spins were reversed, see `gauges`, they are reversed here, too: the errors of a chip act on its qubits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from worker.compute.problem_checks import SentProblem

FloatArray = NDArray[np.float64]
Float32Array = NDArray[np.float32]

_SHORT = 2  # qubits of a chain whose field is that of a single qubit, or nearly: it keeps up with the anneal
_FEWEST = 0.05  # share of chains that must be short for them to speak for the chip


@dataclass(frozen=True, eq=False)
class NightProblem:
    """One problem.

    Attributes:
        tiles: (i,) intp, the tile of each image; each tile at most once.
        packed: (i, R, ceil(n / 8)) uint8, reads of its units, eight units in a byte.
        h: (i, n) float32, fields as sent, with the bias by couplers that was measured.
        J: (n, n) float32, symmetric, quadratic biases as sent.
        signs: (i, n) float32, -1 where spins were reversed.
    """

    tiles: NDArray[np.intp]
    packed: NDArray[np.uint8]
    h: Float32Array
    J: Float32Array
    signs: Float32Array

    @classmethod
    def of(
        cls,
        tiles: NDArray[np.intp],
        bits: NDArray[np.uint8],
        sent: SentProblem,
        coupling_bias: float,
        signs: FloatArray | None,
    ) -> NightProblem:
        """Return the problem of ``bits`` (i, R, n), read as if no spin had been reversed.

        Args:
            tiles: (i,) tile of each image.
            sent: the problem in the same terms.
            coupling_bias: the field that |J| = 1 puts on a qubit, as measured.
            signs: (i, 1) or (i, n); None: no spin was reversed.
        """
        reversed_ = np.ones(sent.h.shape) if signs is None else np.broadcast_to(signs, sent.h.shape)
        h = (sent.h + coupling_bias * sent.coupled) * reversed_
        is_reversed = (reversed_ < 0.0)[:, np.newaxis].view(np.uint8)
        return cls(
            tiles,
            np.packbits(bits ^ is_reversed, axis=2),
            h.astype(np.float32),
            sent.J.astype(np.float32),
            reversed_.astype(np.float32),
        )

    @property
    def spins(self) -> Float32Array:
        """Return the reads (i, R, n) in {-1, +1}."""
        bits = np.unpackbits(self.packed, axis=2, count=self.h.shape[1])
        return bits.astype(np.float32) * np.float32(2.0) - np.float32(1.0)

    def fields(self, spins: Float32Array) -> Float32Array:
        """Return the local fields (i, R, n) of ``spins``, without errors of the chip."""
        signs = self.signs[:, np.newaxis]
        return np.asarray((spins * signs) @ self.J * signs + self.h[:, np.newaxis], np.float32)


@dataclass(frozen=True, eq=False)
class Night:
    """All problems of one embedding, in the order in which they were solved.

    Attributes:
        lengths: (k, n) int, qubits of each chain.
        couplers: (k, n, n) int, couplers that join two chains, symmetric.
        problems: those of the night.
    """

    lengths: NDArray[np.intp]
    couplers: NDArray[np.intp]
    problems: Sequence[NightProblem]

    @cached_property
    def is_short(self) -> NDArray[np.bool_]:
        """Return the chains (k, n) that speak for the temperature of the chip: short ones, or else all.

        Long chains follow their fields more slowly, and appear hotter than the chip is.
        """
        short = self.lengths <= _SHORT
        return short if short.mean() >= _FEWEST else np.ones_like(short)
