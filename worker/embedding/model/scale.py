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
from worker.embedding.model import lattice
from worker.embedding.model.placement import Placement

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

_ROUNDING = 1 - 2.0**-50  # a coupling of J * factor / n can pass its range by the last bit
_SUMMING = 1 - 2.0**-45  # the solver adds up the couplings at a qubit in an order that is not known


@dataclass(frozen=True)
class Ranges:
    """Ranges of the biases that a solver accepts.

    Attributes:
        h: lowest and highest linear bias.
        J: of quadratic biases; the lowest may be that of the extended range.
        J_at_qubit: lowest and highest sum of the quadratic biases at one qubit; None: not limited.
        J_in_group: of those in each of the two groups of a Zephyr qubit, instead of at the qubit.
    """

    h: tuple[float, float]
    J: tuple[float, float]
    J_at_qubit: tuple[float, float] | None = None
    J_in_group: tuple[float, float] | None = None

    @classmethod
    def from_properties(cls, properties: Mapping[str, Any]) -> Ranges:
        """Read the ranges from a solver's ``properties``; of J the extended range if there is one.

        Raises:
            Refused: a range is missing or does not reach below and above 0.
        """
        of_sums = {
            field: _range(properties[name], name)
            for field, name in (
                ("J_at_qubit", "per_qubit_coupling_range"),
                ("J_in_group", "per_group_coupling_range"),
            )
            if properties.get(name) is not None
        }
        J = properties.get("extended_j_range", properties.get("j_range"))
        return cls(
            _range(properties.get("h_range"), "h_range"),
            _range(J, "j_range"),
            **of_sums,
        )


def fit_scale(
    placement: Placement,
    h: FloatArray,
    J: FloatArray,
    chain_strength: float,
    ranges: Ranges,
    share: float = 1.0,
    *,
    reverses: bool = False,
) -> float:
    """Return the factor by which a placed model is multiplied to fit a solver's ranges, for all images.

    Each of h, J and the sums of J at a qubit, or in its groups, allows a largest factor; the least of them is
    taken. It is above 1 if the ranges leave room, and 1 for a model without biases.

    Args:
        placement: where the biases go.
        h: (n,) float64, the largest |h| of each unit over all images.
        J: (m,) float64, quadratic biases.
        chain_strength: >= 0, in the units of ``J``.
        ranges: of the solver.
        share: > 0, of the largest factor. Above 1, some h may have to be clipped; J still fits.
        reverses: couplings between chains fit with either sign, in any combination; see `gauges`.
    """
    n = placement.tiling.units
    biases = h[placement.owners % n] * placement.shares
    couplings = placement.quadratic(J, chain_strength)
    h_room = min(_room(biases, ranges.h), _room(-biases, ranges.h))
    most, least = _extremes(placement, couplings, reverses=reverses)
    J_room = _room(most, ranges.J, least)
    ends = placement.couplers
    if ranges.J_at_qubit is not None:
        J_room = min(J_room, _SUMMING * _room(_sums(ends, most), ranges.J_at_qubit, _sums(ends, least)))
    if ranges.J_in_group is not None and placement.graph.topology == "zephyr":
        groups = lattice.coupling_groups(lattice.lattice_of(placement.graph), ends)
        sums = (_sums(2 * ends + groups, values) for values in (most, least))
        J_room = min(J_room, _SUMMING * _room(next(sums), ranges.J_in_group, next(sums)))
    factor = min(share * min(h_room, J_room), J_room)
    if not np.isfinite(factor):
        return 1.0
    programmed = placement.quadratic(J * factor, chain_strength * factor)
    most, least = _extremes(placement, programmed, reverses=reverses)
    return factor if _room(most, ranges.J, least) >= 1 else factor * _ROUNDING


def _extremes(
    placement: Placement, couplings: FloatArray, *, reverses: bool
) -> tuple[FloatArray, FloatArray]:
    """Return the highest and lowest values that ``couplings`` (P,) can have."""
    if not reverses:
        return couplings, couplings
    between, size = placement.terms >= 0, np.abs(couplings)
    return np.where(between, size, couplings), np.where(between, -size, couplings)


def _sums(ends: IntArray, couplings: FloatArray) -> FloatArray:
    """Add up ``couplings`` (P,) by the numbers (P, 2) of their ends."""
    sums: FloatArray = np.bincount(ends.ravel(), np.repeat(couplings, 2)).astype(np.float64)
    return sums


def _room(values: FloatArray, limits: tuple[float, float], lowest: FloatArray | None = None) -> float:
    """Return the factor by which values, from ``lowest`` to ``values``, can grow within the range."""
    low, high = limits
    most = float(values.max(initial=0.0))
    least = float((values if lowest is None else lowest).min(initial=0.0))
    return min(high / most if most > 0 else np.inf, low / least if least < 0 else np.inf)


def _range(ends: Any, name: str) -> tuple[float, float]:
    try:
        low, high = (float(end) for end in ends)
    except (TypeError, ValueError):
        raise Refused(f"the solver states no usable {name}: {ends!r}") from None
    if not (np.isfinite(low) and np.isfinite(high) and low < 0 < high):
        raise Refused(f"the solver's {name} must reach below and above 0, not [{low}, {high}]")
    return low, high
