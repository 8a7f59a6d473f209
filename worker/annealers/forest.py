"""A model seen from its class units: with these known, the other units of a small network form trees.

Single visible units for a head; stars of visible units around each pooling unit.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from schema.errors import Refused

if TYPE_CHECKING:
    from worker.qubo.energy_model import BitArray, EnergyModel, FloatArray

IndexList = NDArray[np.intp]
Units = IndexList | slice

# 65,536 class states; twice as many for every class more.
MAX_CLASSES = 16
# One table of fields has an entry for every unit and class state: 256 MiB at most.
_MAX_FIELDS = 1 << 25


@dataclass(frozen=True, eq=False)
class Level:
    """Units that become leaves in the same round of pruning.

    units, parents: d indices among the units that are not class units. couplings: (d,) to the parent.
    to_parents: (d, n_rest), 1 where the column is the row's parent. depends: on the class state, by the units
    themselves or by units below them.
    """

    units: Units
    parents: IndexList
    couplings: FloatArray
    to_parents: FloatArray
    depends: bool


@dataclass(frozen=True, eq=False)
class Forest:
    """A model seen from its class units.

    levels: leaves first. roots: the units left at the end. codes: (C, K) uint8, all class states. pairs:
    (C,) energy of the class pairs. fields: (n_rest, C), what a class state adds to a unit's linear part.
    """

    levels: tuple[Level, ...]
    roots: Units
    codes: BitArray
    pairs: FloatArray
    fields: FloatArray


@lru_cache(maxsize=8)
def cached_forest(model: EnergyModel) -> Forest:
    """What :func:`build_forest` gives, kept for the models used last."""
    return build_forest(model)


def build_forest(model: EnergyModel) -> Forest:
    """The forest of a model.

    Raises Refused when there are too many class units or other units, or cycles among the other units.
    """
    classes = model.sizes[-1]
    if classes > MAX_CLASSES:
        raise Refused(
            f"the model has {classes} class units; the exact annealer enumerates up to {MAX_CLASSES}"
        )
    rest = model.units - classes
    if rest << classes > _MAX_FIELDS:
        raise Refused(
            f"the model has {rest:,} units beside its {classes} class units; "
            f"the exact annealer takes {_MAX_FIELDS >> classes:,} beside so many"
        )
    levels, roots = _prune(model, rest)
    codes = (np.arange(1 << classes)[:, np.newaxis] >> np.arange(classes) & 1).astype(np.uint8)
    to_classes = model.quadratic[:rest, rest:]
    pairs = np.einsum("ck,ck->c", codes @ model.quadratic[rest:, rest:], codes)
    return Forest(levels, roots, codes, pairs, to_classes @ codes.T)


def _prune(model: EnergyModel, rest: int) -> tuple[tuple[Level, ...], Units]:
    """Take leaves away, round by round, until only roots are left.

    Raises Refused when a cycle is left.
    """
    inner = model.edges[:, 1] < rest
    couplings = np.zeros((rest, rest))
    joined = np.zeros((rest, rest), dtype=np.bool_)
    low, high = model.edges[inner].T
    couplings[low, high] = couplings[high, low] = model.couplings[inner]
    joined[low, high] = joined[high, low] = True
    depends = np.any(model.quadratic[:rest, rest:], axis=1)
    levels: list[Level] = []
    children = np.empty(0, dtype=np.intp)
    while joined.any():
        leaves = np.flatnonzero(joined.sum(axis=1) == 1)
        if not len(leaves):
            raise Refused(_describe_cycles(model, int(np.count_nonzero(joined.any(axis=1)))))
        parents = joined[leaves].argmax(axis=1)
        # Two units joined only to each other are both leaves: the later one stays as the root.
        keep = ~(np.isin(parents, leaves) & (leaves > parents))
        leaves, parents = leaves[keep], parents[keep]
        levels.append(_level(leaves, parents, couplings, depends))
        children = np.append(children, leaves)
        depends[parents] |= depends[leaves]
        joined[leaves, parents] = joined[parents, leaves] = False
    return tuple(levels), _span(np.setdiff1d(np.arange(rest), children))


def _level(leaves: IndexList, parents: IndexList, couplings: FloatArray, depends: NDArray[np.bool_]) -> Level:
    to_parents = np.zeros((len(leaves), len(couplings)))
    to_parents[np.arange(len(leaves)), parents] = 1.0
    return Level(_span(leaves), parents, couplings[leaves, parents], to_parents, bool(depends[leaves].any()))


def _span(units: IndexList) -> Units:
    """Sorted units as a slice where they are neighbours: numpy copies slices several times faster."""
    if len(units) and units[-1] - units[0] == len(units) - 1:
        return slice(int(units[0]), int(units[-1]) + 1)
    return units


def _describe_cycles(model: EnergyModel, count: int) -> str:
    return (
        f"the exact annealer needs units that form trees once the {model.sizes[-1]} class units are known; "
        f"in layers {model.sizes}, {count} units are joined in cycles: use the local annealer"
    )
