"""Recognises BQMs that have the shape of a network: layers of units, the last one the classes.

Class units all interact with each other. Without these couplings, each unit interacts only with units of the
next layer or the one before: a layer is a distance from the classes. A head has one layer before them.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from math import isqrt

import dimod
import numpy as np
from dimod.exceptions import BinaryQuadraticModelStructureError
from numpy.typing import NDArray

from worker.qubo.energy_model import EnergyModel

IndexArray = NDArray[np.int64]

_PAIRS = 64  # pairs of variables that are tried as the two classes of a network
_INSTEAD = (
    "take `dwave.samplers.SimulatedAnnealingSampler`, or on a QPU "
    "`dwave.system.EmbeddingComposite(DWaveSampler())`"
)


@dataclass(frozen=True, eq=False)
class NetworkShaped:
    """A BQM as layers of units.

    Attributes:
        model: its quadratic biases (BINARY), units layer by layer, classes last.
        linear: (n,) float64, its linear biases in that order.
        variables: in that order.
    """

    model: EnergyModel
    linear: NDArray[np.float64]
    variables: list[Hashable]


def as_network(bqm: dimod.BinaryQuadraticModel, classes: Sequence[Hashable] | None = None) -> NetworkShaped:
    """Return ``bqm`` as layers of units.

    Args:
        bqm: of any vartype.
        classes: its class units, two or more; None: the largest group of variables that all interact with
            each other, with equal quadratic biases, so that the others are layers.

    Raises:
        BinaryQuadraticModelStructureError: it has another shape; the message names the first variables that
            differ, and an Ocean sampler that takes any BQM.

    Examples:
        >>> bqm = dimod.BinaryQuadraticModel({}, {"ac": -1, "bc": 1, "ad": 1, "bd": -1, "cd": 4}, "BINARY")
        >>> as_network(bqm).model.sizes
        (2, 2)
    """
    names = list(bqm.variables)
    vectors = bqm.binary.to_numpy_vectors(names)
    ends = np.sort(np.stack((vectors.quadratic.row_indices, vectors.quadratic.col_indices), axis=1))
    edges, couplings = ends.astype(np.int64), np.asarray(vectors.quadratic.biases, np.float64)
    tried = [_indices(names, classes)] if classes is not None else _cliques(edges, couplings)
    reasons = []
    for group in tried:
        distance, differs = _layers(len(names), edges, group)
        if differs is None:
            return _layered(names, np.asarray(vectors.linear_biases, np.float64), edges, couplings, distance)
        reasons.append(_explained(names, group, *differs))
    reason = reasons[0] if reasons else "no group of variables interacts as class units do"
    raise BinaryQuadraticModelStructureError(
        f"the BQM does not have the shape of a network: {reason}; {_INSTEAD}"
    )


def _indices(names: list[Hashable], classes: Sequence[Hashable]) -> IndexArray:
    known = {name: index for index, name in enumerate(names)}
    if missing := [name for name in classes if name not in known]:
        raise BinaryQuadraticModelStructureError(f"class unit {missing[0]!r} is not a variable of the BQM")
    if len(set(classes)) < 2:
        raise BinaryQuadraticModelStructureError("a network has two or more class units: name them")
    return np.unique([known[name] for name in classes])


def _cliques(edges: IndexArray, couplings: NDArray[np.float64]) -> Iterator[IndexArray]:
    """Yield groups of variables that all interact with equal biases, the largest first."""
    _, group, counts = np.unique(couplings, return_inverse=True, return_counts=True)
    order = np.argsort(group, kind="stable")
    starts = np.concatenate(([0], np.cumsum(counts)))
    for number in np.argsort(-counts, kind="stable"):
        size = (1 + isqrt(1 + 8 * int(counts[number]))) // 2
        if size < 3:
            break
        members = np.unique(edges[order[starts[number] : starts[number + 1]]])
        if len(members) == size and size * (size - 1) // 2 == counts[number]:
            yield members
    # Two classes have one coupling; it joins the variables that interact most.
    degrees = np.bincount(edges.ravel()) if len(edges) else np.zeros(0)
    for pair in np.argsort(-degrees[edges].sum(axis=1), kind="stable")[:_PAIRS]:
        yield edges[pair]


def _layers(count: int, edges: IndexArray, classes: IndexArray) -> tuple[IndexArray, tuple[int, int] | None]:
    """Return the distance (count,) of each variable from the classes, and a pair that is not as in a network.

    Variables that are joined to none have distance 1.
    """
    is_class = np.zeros(count, np.bool_)
    is_class[classes] = True
    between = is_class[edges].all(axis=1)
    joined = {tuple(pair) for pair in edges[between].tolist()}
    for place, first in enumerate(classes.tolist()):
        for second in classes[place + 1 :].tolist():
            if (first, second) not in joined:
                return np.zeros(count, np.int64), (first, second)
    others = edges[~between]
    distance = np.where(is_class, 0, -1)
    step = 0
    while True:
        ends = others[(distance[others] == step).any(axis=1)].ravel()
        new = np.unique(ends[distance[ends] < 0])
        if not len(new):
            break
        step += 1
        distance[new] = step
    # Parts of the graph that no path joins to the classes are not layers.
    isolated = distance < 0
    stray = others[isolated[others].any(axis=1)]
    distance[isolated] = 1
    wrong = stray if len(stray) else others[np.abs(np.diff(distance[others], axis=1)[:, 0]) != 1]
    return distance, tuple(wrong[0].tolist()) if len(wrong) else None


def _layered(
    names: list[Hashable],
    linear: NDArray[np.float64],
    edges: IndexArray,
    couplings: NDArray[np.float64],
    distance: IndexArray,
) -> NetworkShaped:
    order = np.argsort(-distance, kind="stable")
    place = np.argsort(order)
    ends = np.sort(place[edges], axis=1)
    sorted_edges = np.lexsort((ends[:, 1], ends[:, 0]))
    sizes = tuple(np.bincount(distance)[::-1].tolist())
    model = EnergyModel(
        sizes, np.zeros(len(names)), ends[sorted_edges].astype(np.int32), couplings[sorted_edges]
    )
    return NetworkShaped(model, linear[order], [names[index] for index in order])


def _explained(names: list[Hashable], group: IndexArray, first: int, second: int) -> str:
    """Return what is wrong with the pair of variables, with ``group`` as class units."""
    pair = f"{names[first]!r} and {names[second]!r}"
    classes = ", ".join(repr(names[index]) for index in group[:3].tolist()) + (
        ", ..." if len(group) > 3 else ""
    )
    if first in group and second in group:
        return f"the class units {pair} do not interact"
    return f"{pair} interact, and are not in consecutive layers before the classes {classes}"
