"""The two forms of a quadratic model: BINARY (x in {0, 1}) and SPIN (s in {-1, +1}), with x = (1 + s) / 2.

Linear biases are batches, one row for each image; quadratic biases are shared. dimod has the same for one
model: ``BinaryQuadraticModel.change_vartype``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from worker.qubo.energy_model import BitArray, FloatArray, IndexArray

SpinArray = NDArray[np.int8]


@dataclass(frozen=True, eq=False)
class BinaryForm:
    """E(x) = linear_b . x + sum_e couplings[e] x_i x_j + offset_b, x in {0, 1}^n.

    Shapes: linear (B, n), couplings (m,), offset (B,), all float64.
    """

    linear: FloatArray
    couplings: FloatArray
    offset: FloatArray


@dataclass(frozen=True, eq=False)
class SpinForm:
    """E(s) = h_b . s + sum_e J[e] s_i s_j + offset_b, s in {-1, +1}^n.

    Shapes: h (B, n), J (m,), offset (B,), all float64.
    """

    h: FloatArray
    J: FloatArray
    offset: FloatArray


def spin_form(linear: FloatArray, edges: IndexArray, couplings: FloatArray) -> SpinForm:
    """Return the SPIN form of a BINARY model.

    h_i = linear_i / 2 + sum_{e at i} couplings_e / 4, J_e = couplings_e / 4.

    Args:
        linear: (B, n) float64, linear biases.
        edges: (m, 2) int32.
        couplings: (m,) float64, quadratic biases.

    Examples:
        E(x) = 4 x_0 x_1 is 1 + s_0 + s_1 + s_0 s_1:

        >>> form = spin_form(np.zeros((1, 2)), np.array([[0, 1]], dtype=np.int32), np.array([4.0]))
        >>> form.h.tolist(), form.J.tolist(), form.offset.tolist()
        ([[1.0, 1.0]], [1.0], [1.0])
    """
    J = couplings / 4.0
    h = linear / 2.0 + _sum_at_units(edges, J, linear.shape[1])
    return SpinForm(h, J, linear.sum(axis=1) / 2.0 + J.sum())


def binary_form(h: FloatArray, edges: IndexArray, J: FloatArray) -> BinaryForm:
    """Return the BINARY form of a SPIN model with ``h`` (B, n), ``edges`` (m, 2) and ``J`` (m,).

    linear_i = 2 h_i - 2 sum_{e at i} J_e, couplings_e = 4 J_e.
    """
    linear = 2.0 * (h - _sum_at_units(edges, J, h.shape[1]))
    return BinaryForm(linear, 4.0 * J, J.sum() - h.sum(axis=1))


def bits_of(spins: SpinArray) -> BitArray:
    """Return ``spins`` {-1, +1} int8 as bits {0, 1} uint8, the same shape."""
    return (spins > 0).view(np.uint8)


def spins_of(bits: BitArray) -> SpinArray:
    """Return ``bits`` {0, 1} uint8 as spins {-1, +1} int8, the same shape."""
    return 2 * bits.view(np.int8) - np.int8(1)


def _sum_at_units(edges: IndexArray, values: FloatArray, units: int) -> FloatArray:
    """Return the sums (n,) over the edges that meet at each unit."""
    sums = np.bincount(edges.ravel(), weights=np.repeat(values, 2), minlength=units)
    return np.asarray(sums, dtype=np.float64)
