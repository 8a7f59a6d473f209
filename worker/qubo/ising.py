"""The two forms of a quadratic model: BINARY (x in {0, 1}) and SPIN (s in {-1, +1}), with x = (1 + s) / 2.

Linear parts are batches, one row an image; the quadratic part is shared. A solver's ranges are met by one
scale for a whole model: a scale for each image would give each image another temperature.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from schema.errors import ParameterError

if TYPE_CHECKING:
    from worker.qubo.build import BitArray, FloatArray, IndexArray

SpinArray = NDArray[np.int8]


@dataclass(frozen=True, eq=False)
class BinaryForm:
    """E(x) = linear_b . x + sum_e couplings[e] x_i x_j + offset_b, x in {0, 1}^n.

    linear: (B, n) float64. couplings: (m,) float64. offset: (B,) float64.
    """

    linear: FloatArray
    couplings: FloatArray
    offset: FloatArray


@dataclass(frozen=True, eq=False)
class SpinForm:
    """E(s) = h_b . s + sum_e J[e] s_i s_j + offset_b, s in {-1, +1}^n.

    h: (B, n) float64. J: (m,) float64. offset: (B,) float64.
    """

    h: FloatArray
    J: FloatArray
    offset: FloatArray


def spin_form(linear: FloatArray, edges: IndexArray, couplings: FloatArray) -> SpinForm:
    """The SPIN form of a BINARY model with linear parts (B, n), edges (m, 2) and couplings (m,).

    h_i = linear_i / 2 + sum_{e at i} couplings_e / 4, J_e = couplings_e / 4.
    """
    J = couplings / 4.0
    h = linear / 2.0 + _sum_at_units(edges, J, linear.shape[1])
    return SpinForm(h, J, linear.sum(axis=1) / 2.0 + J.sum())


def binary_form(h: FloatArray, edges: IndexArray, J: FloatArray) -> BinaryForm:
    """The BINARY form of a SPIN model with h (B, n), edges (m, 2) and J (m,).

    linear_i = 2 h_i - 2 sum_{e at i} J_e, couplings_e = 4 J_e.
    """
    linear = 2.0 * (h - _sum_at_units(edges, J, h.shape[1]))
    return BinaryForm(linear, 4.0 * J, J.sum() - h.sum(axis=1))


def bits_of(spins: SpinArray) -> BitArray:
    """Spins {-1, +1} int8 as bits {0, 1} uint8, the same shape."""
    return (spins > 0).view(np.uint8)


def spins_of(bits: BitArray) -> SpinArray:
    """Bits {0, 1} uint8 as spins {-1, +1} int8, the same shape."""
    return 2 * bits.view(np.int8) - np.int8(1)


def common_scale(
    h: FloatArray, J: FloatArray, h_range: tuple[float, float], j_range: tuple[float, float]
) -> float:
    """The largest factor that brings every h (B, n) and every J (m,) into a solver's ranges.

    Take h over all images the model will see, or over their bounds, so that one factor serves the model. It
    is above 1 where the ranges leave room, and 1.0 for a model that is zero everywhere. Energies scale with
    it, and the temperature the model feels falls by it.

    Raises ParameterError when a range does not reach below and above 0, or a value is not finite.
    """
    factors = [factor for values, limits in ((h, h_range), (J, j_range)) for factor in _room(values, limits)]
    return min(factors, default=1.0)


def _room(values: FloatArray, limits: tuple[float, float]) -> list[float]:
    """How much the values could grow before they leave the range, at its upper and at its lower end."""
    low, high = limits
    if not (np.isfinite(low) and np.isfinite(high) and low < 0.0 < high):
        raise ParameterError(f"a solver's range must reach below and above 0, not [{low}, {high}]")
    if not np.isfinite(values).all():
        raise ParameterError("h and J must be finite to be scaled into a solver's ranges")
    most, least = values.max(initial=0.0), values.min(initial=0.0)
    return [float(limit / value) for limit, value in ((high, most), (low, least)) if value != 0.0]


def _sum_at_units(edges: IndexArray, values: FloatArray, units: int) -> FloatArray:
    """(n,) sums over the edges that meet at each unit."""
    sums = np.bincount(edges.ravel(), weights=np.repeat(values, 2), minlength=units)
    return np.asarray(sums, dtype=np.float64)
