"""One factor that brings the biases of all images and tiles into a solver's ranges.

A scale for each problem (the solvers' own auto-scale) would give each image another temperature.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schema.errors import Refused
from worker.embedding.model.placement import Placement

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Ranges:
    """Ranges of the biases that a solver accepts.

    Attributes:
        h: lowest and highest linear bias.
        J: of quadratic biases; the lowest may be that of the extended range.
        J_at_qubit: lowest and highest sum of the quadratic biases at one qubit; None: not limited.
    """

    h: tuple[float, float]
    J: tuple[float, float]
    J_at_qubit: tuple[float, float] | None = None

    @classmethod
    def from_properties(cls, properties: Mapping[str, Any]) -> Ranges:
        """Read the ranges from a solver's ``properties``; of J the extended range if there is one.

        Raises:
            Refused: a range is missing or does not reach below and above 0.
        """
        at_qubit = properties.get("per_qubit_coupling_range")
        J = properties.get("extended_j_range", properties.get("j_range"))
        return cls(
            _range(properties.get("h_range"), "h_range"),
            _range(J, "j_range"),
            None if at_qubit is None else _range(at_qubit, "per_qubit_coupling_range"),
        )


def fit_scale(
    placement: Placement,
    h: FloatArray,
    J: FloatArray,
    chain_strength: float,
    ranges: Ranges,
    share: float = 1.0,
) -> float:
    """Return the factor by which a placed model is multiplied to fit a solver's ranges, for all images.

    Each of h, J and the sums of J at a qubit allows a largest factor; the least of them is taken. It is above
    1 if the ranges leave room, and 1 for a model without biases.

    Args:
        placement: where the biases go.
        h: (n,) float64, the largest |h| of each unit over all images.
        J: (m,) float64, quadratic biases.
        chain_strength: >= 0, in the units of ``J``.
        ranges: of the solver.
        share: > 0, of the largest factor. Above 1, some h may have to be clipped; J still fits.
    """
    n = placement.tiling.units
    biases = h[placement.owners % n] * placement.shares
    couplings = placement.quadratic(J, chain_strength)
    h_room = min(_room(biases, ranges.h), _room(-biases, ranges.h))
    J_room = _room(couplings, ranges.J)
    if ranges.J_at_qubit is not None:
        J_room = min(J_room, _room(_sum_at_qubits(placement, couplings), ranges.J_at_qubit))
    factor = min(share * min(h_room, J_room), J_room)
    return factor if np.isfinite(factor) else 1.0


def _sum_at_qubits(placement: Placement, couplings: FloatArray) -> FloatArray:
    graph = placement.graph
    in_use = np.zeros(graph.size, dtype=np.bool_)
    in_use[placement.active] = True
    ends = graph.couplers[in_use[graph.couplers].all(axis=1)]
    sums: FloatArray = np.bincount(ends.ravel(), np.repeat(couplings, 2), graph.size).astype(np.float64)
    return sums


def _room(values: FloatArray, limits: tuple[float, float]) -> float:
    """Return the factor by which the values can grow before they leave the range."""
    low, high = limits
    most, least = float(values.max(initial=0.0)), float(values.min(initial=0.0))
    return min(high / most if most > 0 else np.inf, low / least if least < 0 else np.inf)


def _range(ends: Any, name: str) -> tuple[float, float]:
    try:
        low, high = (float(end) for end in ends)
    except (TypeError, ValueError):
        raise Refused(f"the solver states no usable {name}: {ends!r}") from None
    if not (np.isfinite(low) and np.isfinite(high) and low < 0 < high):
        raise Refused(f"the solver's {name} must reach below and above 0, not [{low}, {high}]")
    return low, high
