"""Copies of a head, side by side: one shape is searched whose copies, moved by a sublattice, do not meet.

Class units run along a few neighbouring lines and visible units across them, so copies lie in bands: in
Zephyr two lines high, in Pegasus three groups of four.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from worker.embedding.copies.minorminer import qubits_of
from worker.embedding.model import lattice
from worker.embedding.tiling.bit_graph import BitGraph, periodic_graph
from worker.embedding.tiling.heads import HeadAnnealer, HeadGraph
from worker.embedding.tiling.periodic import Shape, Torus, ideal_chip, place_valid, unroll

if TYPE_CHECKING:
    from worker.embedding.copies.minorminer import Chains
    from worker.embedding.copies.occupancy import Occupancy
    from worker.embedding.copies.time_limit import TimeLimit
    from worker.embedding.model.graphs import Interactions

IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class _RowSpec:
    """How copies lie in a topology.

    depth: cells across the band. side: of the ideal lattice that shapes are searched in. reach: how far
    from the middle, in lines. moves: of one search. qubits_a_unit: the fewest that a search was seen to
    reach, for the first width tried.
    """

    depth: int
    side: int
    reach: float
    moves: int
    qubits_a_unit: float


_ROWS = {
    "zephyr": _RowSpec(depth=2, side=14, reach=4.5, moves=150_000, qubits_a_unit=2.0),
    "pegasus": _RowSpec(depth=3, side=20, reach=36.0, moves=400_000, qubits_a_unit=2.5),
}
_KINDS = 8
_WIDTHS = 3  # widths tried, in turns
_SHARE = 0.6  # of the time limit, for the search of shapes


def tile_heads(
    graph: Interactions,
    head: HeadGraph,
    occupancy: Occupancy,
    time_limit: TimeLimit,
    rng: np.random.Generator,
) -> None:
    """Add as many copies of a head as rows of one shape hold."""
    band = _ROWS.get(occupancy.solver.topology)
    if band is None or int(occupancy.lattice.cells[:, 0].max()) + 1 != _KINDS:
        return
    first = int(band.qubits_a_unit * graph.units) // (_KINDS * band.depth)
    best: list[Chains] = []
    while time_limit.spent_s < _SHARE * time_limit.limit_s:
        for width in range(max(1, first), first + _WIDTHS):
            torus = Torus(width, 0, band.depth)
            if len(occupancy.solver.qubits) <= len(best) * width * band.depth * _KINDS:
                break
            shape = _find_shape(head, torus, band, occupancy, time_limit, rng)
            if shape is not None:
                best = max(best, unroll(torus, [(shape, 0)], occupancy), key=len)
            time_limit.report_step("shapes")
    place_valid(graph, occupancy, best)


def _find_shape(
    head: HeadGraph,
    torus: Torus,
    band: _RowSpec,
    occupancy: Occupancy,
    time_limit: TimeLimit,
    rng: np.random.Generator,
) -> Shape | None:
    sheet = _lattice_periods(occupancy.solver.topology, torus, band)
    annealer = HeadAnnealer(head, sheet, random.Random(int(rng.integers(1 << 31))))  # noqa: S311 - no secret
    chains = annealer.search(band.moves, lambda: time_limit.spent_s > _SHARE * time_limit.limit_s)
    if chains is None:
        return None
    place = lattice.lattice_of(ideal_chip(occupancy.solver.topology, band.side, 4))
    cells = place.cells[qubits_of(chains)].copy()
    cells[:, 1:] -= cells[:, 1:].min(axis=0)
    return Shape(cells, tuple(map(len, chains)))


def _lattice_periods(topology: str, torus: Torus, band: _RowSpec) -> BitGraph:
    """The middle of an ideal lattice, in periods of the torus: the period around the middle comes first."""
    solver = ideal_chip(topology, band.side, 4)
    place = lattice.lattice_of(solver)
    middle = np.median(place.centres[solver.qubits], axis=0)
    distance = np.abs(place.centres - middle).max(axis=1)
    nearest = [int(qubit) for qubit in np.argsort(distance, kind="stable") if solver.working[qubit]]
    folded = torus.fold(place.cells).tolist()
    first: dict[int, int] = {}
    for qubit in nearest:
        first.setdefault(folded[qubit], qubit)
    period = place.cells[[first[number] for number in sorted(first)]]
    steps = np.array([[i * torus.a, j * torus.d] for i in range(-5, 6) for j in range(-9, 10)])
    steps = steps[np.argsort(np.abs(steps).sum(axis=1), kind="stable")]
    qubits = place.find(period + np.pad(steps, ((0, 0), (1, 0)))[:, np.newaxis])
    whole = (qubits >= 0).all(axis=1) & np.append(solver.working, False)[qubits].all(axis=1)
    near = (np.append(distance, np.inf)[qubits] <= band.reach).any(axis=1)
    return periodic_graph(solver, qubits[whole & near].ravel(), len(period))
