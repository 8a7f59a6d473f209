"""Checks whether a tiling is valid on a solver: each tiling that is found, stored or repaired.

Valid means: all qubits work, each chain is connected by working couplers, and each interaction of the model
has at least one working coupler between its two chains, in each tile.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from schema.codecs.tiling import Tiling
from schema.errors import Refused
from worker.embedding.model.graphs import Interactions, SolverGraph

BoolArray = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class EmbeddingFaults:
    """Faults of a tiling of k tiles and n units on a solver, for a graph of m edges.

    Attributes:
        dead: (qubits of the tiling,) bool, qubits that do not work.
        broken: (k, n) bool, chains that working couplers do not connect.
        missing: (k, m) bool, edges without a working coupler between their chains.
    """

    dead: BoolArray
    broken: BoolArray
    missing: BoolArray


def check_tiling(graph: Interactions, solver: SolverGraph, tiling: Tiling) -> None:
    """Raise Refused unless ``tiling`` is valid for ``graph`` on ``solver``.

    Raises:
        Refused: the tiling is for another number of units, or has a fault; the message names the first tile
            and its unit, edge or qubit.
    """
    faults = find_faults(graph, solver, tiling)
    hint = f"find a new embedding for {solver.name} {solver.graph_id}"
    if faults.dead.any():
        place = int(faults.dead.argmax())
        tile, unit = divmod(int(np.searchsorted(tiling.starts, place, side="right")) - 1, tiling.units)
        raise Refused(f"tile {tile}, unit {unit}: qubit {tiling.qubits[place]} does not work; {hint}")
    if faults.broken.any():
        tile, unit = np.argwhere(faults.broken)[0].tolist()
        chain = tiling.chain(tile, unit).tolist()
        raise Refused(f"tile {tile}, unit {unit}: chain {chain} is not connected; {hint}")
    if faults.missing.any():
        tile, edge = np.argwhere(faults.missing)[0].tolist()
        i, j = graph.edges[edge].tolist()
        raise Refused(f"tile {tile}: no coupler between units {i} and {j}; {hint}")


def intact_tiles(graph: Interactions, solver: SolverGraph, tiling: Tiling) -> BoolArray:
    """Return (k,) bool: which tiles of ``tiling`` are valid for ``graph`` on ``solver``.

    Raises:
        Refused: the tiling is for another number of units.
    """
    faults = find_faults(graph, solver, tiling)
    has_dead = np.logical_or.reduceat(faults.dead, tiling.starts[: -1 : tiling.units])
    valid: BoolArray = ~(has_dead | faults.broken.any(axis=1) | faults.missing.any(axis=1))
    return valid


def find_faults(graph: Interactions, solver: SolverGraph, tiling: Tiling) -> EmbeddingFaults:
    """Return all faults of ``tiling`` for ``graph`` on ``solver``, in time linear in the solver's couplers.

    Each coupler is looked up once: if both ends are in the same chain it connects that chain, if they are in
    two chains of one tile it serves their edge.

    Raises:
        Refused: the tiling is for another number of units.
    """
    if tiling.units != graph.units:
        raise Refused(f"the tiling is for {tiling.units} units, the model has {graph.units}")
    inside = tiling.qubits < solver.size
    dead = np.ones(len(tiling.qubits), dtype=np.bool_)
    dead[inside] = ~solver.working[tiling.qubits[inside]]
    place = np.full(solver.size, -1, dtype=np.int64)  # of each qubit in tiling.qubits
    place[tiling.qubits[inside]] = np.flatnonzero(inside)
    ends = place[solver.couplers]
    ends = ends[(ends >= 0).all(axis=1)]
    owner = np.repeat(np.arange(tiling.lengths.size), tiling.lengths.ravel())
    chains = owner[ends]
    same = chains[:, 0] == chains[:, 1]
    broken = ~_connected(ends[same], tiling)
    return EmbeddingFaults(dead, broken.reshape(tiling.lengths.shape), _missing(graph, tiling, chains[~same]))


def _connected(links: NDArray[np.int64], tiling: Tiling) -> BoolArray:
    """Return (k * n,) bool: chains whose qubits are all connected to the first one.

    Labels are propagated along ``links`` (L, 2), pairs of indices into ``tiling.qubits`` that a coupler joins
    within a chain: each qubit takes the lowest label among its neighbours until nothing changes, with pointer
    jumping (label[label]) so that long chains need few rounds.
    """
    label = np.arange(len(tiling.qubits))
    while True:
        before = label
        lowest = label[links].min(axis=1)
        label = label.copy()
        np.minimum.at(label, links.ravel(), np.repeat(lowest, 2))
        label = label[label]
        if np.array_equal(label, before):
            break
    firsts = tiling.starts[:-1]
    connected: BoolArray = np.maximum.reduceat(label, firsts) == firsts
    return connected


def _missing(graph: Interactions, tiling: Tiling, chains: NDArray[np.int64]) -> BoolArray:
    """Return (k, m) bool: edges without a coupler; ``chains`` (C, 2): coupled pairs of tile * n + unit."""
    units, edges = graph.units, graph.edges.astype(np.int64)
    tile, unit = np.divmod(chains, units)
    within = tile[:, 0] == tile[:, 1]
    low, high = np.sort(unit[within], axis=1).T
    keys = edges[:, 0] * units + edges[:, 1]  # sorted, since the edges are
    missing = np.ones((tiling.tiles, len(keys)), dtype=np.bool_)
    if len(keys):
        pairs = low * units + high
        edge = np.minimum(np.searchsorted(keys, pairs), len(keys) - 1)
        exists = keys[edge] == pairs
        missing[tile[within, 0][exists], edge[exists]] = False
    return missing
