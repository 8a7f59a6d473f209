"""Splits a model into its class units and, once these are known, the trees that its other units form.

A head has single visible units, each joined to class units only. A pooling layer has stars: a pooling unit
with its visible units around it. For each of the 2^K states of the K class units, the energy then is a
constant, plus the energy of a forest whose linear terms depend on the state:

    E(x | class state c) = pairs[c] + sum_i (linear_i + fields[i, c]) x_i + sum over tree edges J_ij x_i x_j

A forest is pruned in rounds: each round takes away all leaves, and joins them to their parents. What is left
in the end are the roots. Going through the rounds in order visits children before parents, which is what
summing or minimising over a tree needs (belief propagation, Pearl 1982; `exact.py` does it).

Two visible units (0, 1) around a pooling unit (2), which is joined to two class units (3, 4):

>>> import numpy as np
>>> from worker.qubo.energy_model import EnergyModel
>>> edges = np.array([[0, 2], [1, 2], [2, 3], [2, 4]], dtype=np.int32)
>>> model = EnergyModel((2, 1, 2), np.zeros(5), edges, np.array([-1.0, -2.0, 4.0, 8.0]))
>>> forest = build_forest(model)
>>> [(level.units, level.parents.tolist(), level.couplings.tolist()) for level in forest.levels]
[(slice(0, 2, None), [2, 2], [-1.0, -2.0])]
>>> forest.roots
slice(2, 3, None)
>>> forest.codes.tolist()
[[0, 0], [1, 0], [0, 1], [1, 1]]
>>> forest.fields[2].tolist()
[0.0, 4.0, 8.0, 12.0]
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

# 65,536 class states; each further class doubles them.
MAX_CLASSES = 16
# One table of fields has an entry for every unit and class state: 256 MiB at most.
_MAX_FIELDS = 1 << 25


@dataclass(frozen=True, eq=False)
class Level:
    """Units that become leaves in the same round of pruning."""

    units: Units  # d ascending indices among the units that are not class units
    parents: IndexList  # (d,) intp, the unit that each is joined to
    couplings: FloatArray  # (d,) float64 to the parent
    to_parents: FloatArray  # (d, n_rest) float64, 1 where the column is the row's parent
    depends: bool  # True if the class state changes the energy of these units, or of units below them


@dataclass(frozen=True, eq=False)
class Forest:
    """A model as a forest for each class state; C = 2^K states, n_rest units that are not class units."""

    levels: tuple[Level, ...]  # rounds of pruning, leaves first
    roots: Units  # the units left after the last round
    codes: BitArray  # (C, K) uint8, all class states
    pairs: FloatArray  # (C,) float64, energy of the couplings between class units
    fields: FloatArray  # (n_rest, C) float64, what a class state adds to a unit's linear term


@lru_cache(maxsize=8)
def cached_forest(model: EnergyModel) -> Forest:
    """Return `build_forest` of ``model``, cached for the models used last."""
    return build_forest(model)


def build_forest(model: EnergyModel) -> Forest:
    """Return the forest of ``model``.

    Raises:
        Refused: the model has too many class units or other units, or cycles among the other units.
    """
    classes = model.sizes[-1]
    if classes > MAX_CLASSES:
        raise Refused(
            f"the model has {classes} class units; the exact annealer enumerates up to {MAX_CLASSES}"
        )
    rest = model.units - classes
    if rest << classes > _MAX_FIELDS:
        raise Refused(
            f"the model has {rest:,} units in addition to its {classes} class units; "
            f"with {classes} classes the exact annealer takes {_MAX_FIELDS >> classes:,}"
        )
    levels, roots = _prune(model, rest)
    codes = (np.arange(1 << classes)[:, np.newaxis] >> np.arange(classes) & 1).astype(np.uint8)
    to_classes = model.quadratic[:rest, rest:]
    pairs = np.einsum("ck,ck->c", codes @ model.quadratic[rest:, rest:], codes)
    return Forest(levels, roots, codes, pairs, to_classes @ codes.T)


def _prune(model: EnergyModel, rest: int) -> tuple[tuple[Level, ...], Units]:
    """Remove leaves, round by round, until only roots are left; raise Refused if a cycle is left."""
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
        stays = np.isin(parents, leaves) & (leaves > parents)
        leaves, parents = leaves[~stays], parents[~stays]
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
    """Return sorted units as a slice where they are neighbours: numpy copies slices several times faster."""
    if len(units) and units[-1] - units[0] == len(units) - 1:
        return slice(int(units[0]), int(units[-1]) + 1)
    return units


def _describe_cycles(model: EnergyModel, count: int) -> str:
    return (
        f"the exact annealer needs units that form trees once the {model.sizes[-1]} class units are known; "
        f"in layers {model.sizes}, {count} units are joined in cycles: use the local annealer"
    )
