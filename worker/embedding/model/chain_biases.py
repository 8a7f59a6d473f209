"""How the qubits of a chain share the linear bias of its unit, so that the ground state has whole chains.

Shared evenly, as by `dwave.embedding.embed_bqm`, h pulls all qubits of a chain the same way, while couplings
to other chains pull the qubits at which their couplers end. In SPIN form h cancels most of these couplings: a
class unit has one to each other class, and nearly all of them are off. A part of a chain with few couplers
then feels its share of h only, and turns over against the rest, even in the ground state. Here each qubit
gets the same local field as the others of its chain, on average:

    h_q = (h_i + M_i) / len - M_q

M_q is the sum of J m over the couplers at q, M_i the sum of M_q over the chain, and m the usual value of the
unit at a coupler's other end: 0, but 2 / K - 1 for one of K class units, of which one is on. The sum of h_q
over the chain is h_i, so the energies of whole chains are those of the model.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from worker.embedding.model.placement import Placement

FloatArray = NDArray[np.float64]

_HALVINGS = 60  # of the interval of a chain's shift: below rounding


def balance_chains(
    placement: Placement,
    J: FloatArray,
    usual: FloatArray,
    h: tuple[FloatArray, FloatArray],
    limits: tuple[float, float],
) -> FloatArray:
    """Return what to add to the even share of h of each qubit of the tiling, (T,) float64 in its order.

    The sums over chains are 0. Where a bias would leave the limits, the others of the chain take over.

    Args:
        placement: where the model lies on the chip.
        J: (m,) float64, quadratic biases.
        usual: (n,) float64 in [-1, 1], usual values of the units.
        h: lowest and highest linear bias of each unit over all images, (n,) float64 each.
        limits: lowest < 0 and highest > 0 linear bias of a qubit, in the units of ``J``.
    """
    owners, chains = placement.owners, placement.tiling.tiles * placement.tiling.units
    pull = _pull(placement, J, usual)
    wanted = np.bincount(owners, pull, chains)[owners] * placement.shares - pull
    units = owners % placement.tiling.units
    # An even share is always possible, even if it is clipped for some images.
    least = np.minimum(limits[0] - h[0][units] * placement.shares, 0.0)
    most = np.maximum(limits[1] - h[1][units] * placement.shares, 0.0)
    reach = float(np.abs(wanted).max(initial=0.0)) + float(
        max(most.max(initial=0.0), -least.min(initial=0.0))
    )
    low, high = np.full(chains, -reach), np.full(chains, reach)
    for _ in range(_HALVINGS):
        shift = (low + high) / 2.0
        is_high = np.bincount(owners, np.clip(wanted + shift[owners], least, most), chains) > 0.0
        high, low = np.where(is_high, shift, high), np.where(is_high, low, shift)
    return np.asarray(np.clip(wanted + ((low + high) / 2.0)[owners], least, most))


def usual_values(units: int, class_units: slice) -> FloatArray:
    """Return the usual values (n,) float64 of ``units`` units, one of ``class_units`` being on."""
    values = np.zeros(units)
    values[class_units] = 2.0 / (class_units.stop - class_units.start) - 1.0
    return values


def _pull(placement: Placement, J: FloatArray, usual: FloatArray) -> FloatArray:
    """Return the usual field of other chains at each qubit of the tiling, (T,) in its order."""
    serves = placement.terms >= 0
    ends = np.searchsorted(placement.active, placement.couplers[serves])
    values = placement.quadratic(J, 0.0)[serves]
    owner = np.empty(len(placement.active), dtype=np.intp)
    owner[placement.columns] = placement.owners % placement.tiling.units
    fields = values[:, np.newaxis] * usual[owner[ends[:, ::-1]]]
    return np.asarray(np.bincount(ends.ravel(), fields.ravel(), len(owner))[placement.columns], np.float64)
