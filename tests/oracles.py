"""Slow and plain implementations that fast ones are checked against."""

from __future__ import annotations

import numpy as np

from tests.models import all_states
from worker.qubo.energy_model import BitArray, EnergyModel, FloatArray


def ground_state(model: EnergyModel, linear: FloatArray) -> tuple[BitArray, FloatArray]:
    """Return the minimum of each image, bits (B, n) uint8 and energies (B,), by eliminating unit after unit.

    The units outside of the class layer of ``model`` must form trees.
    """
    bits = np.array([_minimum(model, row) for row in linear])
    return bits, model.energies(linear, bits[:, np.newaxis])[:, 0]


def _minimum(model: EnergyModel, linear: FloatArray) -> BitArray:
    """For all class states at once: take a leaf away, and add its best energy to its neighbour's costs."""
    rest, quadratic = model.units - model.sizes[-1], model.quadratic
    codes = all_states(model.sizes[-1])
    costs = linear[:rest, np.newaxis] + quadratic[:rest, rest:] @ codes.T
    total = codes @ linear[rest:] + np.einsum("ck,kl,cl->c", codes, quadratic[rest:, rest:], codes)
    neighbours: dict[int, dict[int, float]] = {unit: {} for unit in range(rest)}
    for (low, high), value in zip(model.edges.tolist(), model.couplings.tolist(), strict=True):
        if high < rest:
            neighbours[low][high] = neighbours[high][low] = value
    removed = []
    while neighbours:
        unit = min(neighbours, key=lambda name: len(neighbours[name]))
        joined = neighbours.pop(unit)
        removed.append((unit, joined))
        off = np.minimum(costs[unit], 0.0)
        total += off
        for parent, value in joined.items():
            costs[parent] += np.minimum(costs[unit] + value, 0.0) - off
            del neighbours[parent][unit]
    best = int(total.argmin())
    bits = np.zeros(model.units, dtype=np.uint8)
    bits[rest:] = codes[best]
    for unit, joined in reversed(removed):
        bits[unit] = costs[unit, best] + sum(value * bits[parent] for parent, value in joined.items()) < 0.0
    return bits
