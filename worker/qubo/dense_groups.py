"""Q as dense pieces, of which a matrix product is quick."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

# Gathering the inputs of a group of units costs about as much as four multiplications an element.
_GATHER_COST = 4


@dataclass(frozen=True, eq=False)
class DenseGroup:
    """Units of one layer that share their inputs, with dense ``weights`` (inputs, outputs)."""

    inputs: slice | NDArray[np.intp]
    outputs: slice | NDArray[np.intp]
    weights: FloatArray


def layer_groups(quadratic: FloatArray, exists: NDArray[np.bool_], layer: slice) -> list[DenseGroup]:
    """Return the couplings that end in ``layer`` as dense pieces, cut in the cheaper way."""
    columns = exists[:, layer]
    used = np.flatnonzero(columns.any(axis=1))
    if not len(used):
        return []
    span = slice(int(used[0]), int(used[-1]) + 1)
    whole = DenseGroup(span, layer, np.ascontiguousarray(quadratic[span, layer]))
    masks, which = np.unique(columns, axis=1, return_inverse=True)
    pieces = []
    for index, mask in enumerate(masks.T):
        inputs, outputs = np.flatnonzero(mask), layer.start + np.flatnonzero(which.ravel() == index)
        if len(inputs):
            pieces.append(DenseGroup(inputs, outputs, quadratic[np.ix_(inputs, outputs)]))
    cost = sum(group.weights.size + _GATHER_COST * sum(group.weights.shape) for group in pieces)
    return pieces if cost < whole.weights.size else [whole]
