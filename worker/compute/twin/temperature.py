"""The inverse temperature of a chip, and the share of its qubits that are read wrongly.

A spin s in the local field f has the value -sign(f) with the probability p = 1 / (1 + exp(2 beta s f)). If a
share e of values is read wrongly, the value that is read has the probability e + (1 - 2 e) p. Both are fitted
together by maximum pseudolikelihood (Besag 1975): without e, a few values that no field explains would make
the chip look hot. A wrong reading also spoils the fields of its neighbors: where all units are strongly
coupled, e is up to twice too large.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

_BINS, _WIDEST = 4096, 20.0  # of x = -s f; larger ones are counted in the last bin
_STEPS = 200
_PRECISE = 1e-6  # relative change of beta, at which the fit ends
_COLDEST, _HOTTEST = 50.0, 0.05
_MOST_FLIPPED = 0.05


class AlongFields:
    """A histogram of x = -s f: how far spins point along their fields."""

    def __init__(self) -> None:
        self._counts = np.zeros(_BINS)
        edges = np.linspace(-_WIDEST, _WIDEST, _BINS + 1)
        self._x = (edges[:-1] + edges[1:]) / 2.0

    def add(self, along: NDArray[np.floating]) -> None:
        """Add the values ``along``, any shape."""
        index = ((along.ravel() + _WIDEST) * (_BINS / (2.0 * _WIDEST))).astype(np.intp)
        self._counts += np.bincount(np.clip(index, 0, _BINS - 1), minlength=_BINS)

    def fit(self) -> ChipTemperature:
        """Return the temperature by expectation maximisation, with one step of Newton's method each."""
        x, counts = self._x, self._counts
        beta, flips = 4.0, 1e-4
        for _ in range(_STEPS):
            p = 1.0 / (1.0 + np.exp(-np.clip(2.0 * beta * x, -80.0, 80.0)))
            misread = flips * (1.0 - p) / (flips * (1.0 - p) + (1.0 - flips) * p)
            # A value that was read wrongly was the other one: its x has the other sign.
            right, wrong = counts * (1.0 - misread), counts * misread
            slope = (2.0 * x * (right * (1.0 - p) - wrong * p)).sum()
            curvature = (4.0 * x * x * (right + wrong) * p * (1.0 - p)).sum()
            moved = float(np.clip(beta + slope / max(curvature, 1e-9), beta / 2.0, beta * 2.0))
            moved = min(max(moved, _HOTTEST), _COLDEST)
            flips = float(np.clip(wrong.sum() / max(counts.sum(), 1.0), 1e-9, _MOST_FLIPPED))
            ended = abs(moved - beta) < _PRECISE * beta
            beta = moved
            if ended:
                break
        return ChipTemperature(beta, flips)


@dataclass(frozen=True)
class ChipTemperature:
    """Inverse temperature for h and J as programmed, and the probability that a qubit is read wrongly."""

    beta: float
    flips: float

    def slope_and_information(self, along: NDArray[np.float32]) -> tuple[NDArray[np.float32], ...]:
        """Return the derivative of the log likelihood by x, and its Fisher information, of each value.

        Args:
            along: x = -s f, any shape.
        """
        two_beta, flips = np.float32(2.0 * self.beta), np.float32(self.flips)
        p = 1.0 / (1.0 + np.exp(np.clip(-two_beta * along, -80.0, 80.0)))
        change = (1.0 - 2.0 * flips) * two_beta * p * (1.0 - p)
        seen = flips + (1.0 - 2.0 * flips) * p
        return change / seen, change * change / (seen * (1.0 - seen))
