"""Rounds values so that their sums are exact: then a sum is the same in any order, and on any machine.

Libraries add up in an order that depends on the processor, the number of threads and the shape of an array,
so the last bits of a sum differ. Multiples of a power of two that stay below 2^53 of it are added without any
rounding (IEEE 754), whatever the order; of 2^24 in float32.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

# Less one, since rounding may raise the sum of the sizes a little.
_DIGITS = {np.float64: 52, np.float32: 23}
_SMALLEST = -1022  # exponent of the smallest normal float64


def summable(
    values: FloatArray, most: FloatArray | float, dtype: type[np.float64 | np.float32] = np.float64
) -> FloatArray:
    """Return ``values`` rounded to multiples of a power of two, by ``most`` x 2^-52 at most.

    Args:
        values: any shape.
        most: the sum of the sizes of any values that are added up is at most that; of a shape that broadcasts
            against ``values``, where rows are added up separately.
        dtype: in which they are added up; with float32 they are rounded by ``most`` x 2^-23 at most.

    Examples:
        >>> a, b, c = summable(np.array([0.1, 0.2, 0.3]), 1.0).tolist()
        >>> (a + b) + c == a + (b + c), (0.1 + 0.2) + 0.3 == 0.1 + (0.2 + 0.3)
        (True, False)
    """
    step = np.ldexp(1.0, np.maximum(np.frexp(most)[1] - _DIGITS[dtype], _SMALLEST))
    return np.asarray(np.rint(values / step) * step)
