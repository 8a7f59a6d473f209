"""Lowest energies with exactly one class unit on, in closed form."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from worker.qubo.energy_model import EnergyModel
from worker.qubo.exact_sums import summable


def class_minima(model: EnergyModel, linear: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """Return the lowest energy (B, K) float64 of ``model`` with class unit k alone on, for each k.

    With class units only it is linear[:, k]. With one layer of units i below them, which do not interact with
    each other, it is linear[:, k] + sum_i min(0, linear[:, i] + Q[i, k]).

    Args:
        model: of the images.
        linear: (B, n) float64, their linear biases.

    Returns:
        None with more layers, for which there is no closed form.
    """
    classes = linear[:, model.class_units]
    if len(model.sizes) == 1:
        return classes
    if len(model.sizes) > 2:
        return None
    units = model.layers[0]
    couplings = model.quadratic[units, model.class_units]
    below = linear[:, units]
    most = len(couplings) * (np.abs(below).max(axis=1, keepdims=True) + np.abs(couplings).max())
    minima = np.empty_like(classes)
    # Class by class, the arrays stay small.
    for k, column in enumerate(couplings.T):
        terms = summable(np.minimum(below + column, 0.0), most)
        minima[:, k] = classes[:, k] + terms.sum(axis=1)
    return minima
