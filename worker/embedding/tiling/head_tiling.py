"""Tiles a chip with heads: one head is searched whose copies, moved by a sublattice, are disjoint.

Class units run along a few neighbouring lines and visible units across them, so copies lie in rows: two cells
high in Zephyr, three in Pegasus. `HeadAnnealer` searches on the periods of one row, where qubits that the
sublattice moves onto each other count as one; so each head that it finds can be repeated side by side.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from worker.embedding.model.lattice import lattice_of
from worker.embedding.tiling.bit_graph import BitGraph, periodic_graph
from worker.embedding.tiling.heads import HeadAnnealer, HeadGraph
from worker.embedding.tiling.periodic import KINDS, Shape, Torus, ideal_chip, place_valid, unroll

if TYPE_CHECKING:
    from worker.embedding.copies.minorminer import Chains
    from worker.embedding.copies.task import TilingTask


@dataclass(frozen=True)
class _RowSpec:
    """How heads are searched in a topology.

    Attributes:
        depth: cells across a row of copies.
        side: of the ideal lattice that is searched.
        reach: lines from its middle, beyond which periods are left out.
        moves: of one search.
        qubits_a_unit: the fewest that a search was seen to reach; gives the first width that is tried.
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
_WIDTHS = 3  # widths tried, in turns
_SHARE = 0.6  # of the time limit, for the search of shapes


def tile_heads(task: TilingTask, head: HeadGraph) -> None:
    """Place as many copies of ``head`` on the empty chip of ``task`` as rows of one shape hold.

    Nothing is placed if no shape is found in 60 % of the time limit, or in another lattice than Pegasus or a
    Zephyr with 4 tracks.
    """
    occupancy, time_limit = task.occupancy, task.time_limit
    row = _ROWS.get(task.solver.topology)
    if row is None or int(occupancy.lattice.cells[:, 0].max()) + 1 != KINDS:
        return
    first = int(row.qubits_a_unit * task.graph.units) // (KINDS * row.depth)
    best: list[Chains] = []
    while not time_limit.has_spent(_SHARE):
        for width in range(max(1, first), first + _WIDTHS):
            torus = Torus(width, 0, row.depth)
            if len(task.solver.qubits) <= len(best) * width * row.depth * KINDS:
                break
            shape = _find_shape(task, head, torus, row)
            if shape is not None:
                best = max(best, unroll(torus, [(shape, 0)], occupancy), key=len)
            time_limit.report_step("shapes")
    place_valid(task.graph, occupancy, best)


def _find_shape(task: TilingTask, head: HeadGraph, torus: Torus, row: _RowSpec) -> Shape | None:
    """Return one head that is disjoint from its copies when it is repeated on ``torus``, or None."""
    topology = task.solver.topology
    target = _periods(topology, torus, row)
    annealer = HeadAnnealer(head, target, random.Random(task.draw_seed()))  # noqa: S311 - no secret
    chains = annealer.find_chains(row.moves, lambda: task.time_limit.has_spent(_SHARE))
    return (
        None if chains is None else Shape.from_chains(lattice_of(ideal_chip(topology, row.side, 4)), chains)
    )


def _periods(topology: str, torus: Torus, row: _RowSpec) -> BitGraph:
    """Return the middle of an ideal lattice in periods of ``torus``, the period around the middle first."""
    chip = ideal_chip(topology, row.side, 4)
    lattice = lattice_of(chip)
    middle = np.median(lattice.centres[chip.qubits], axis=0)
    distance = np.abs(lattice.centres - middle).max(axis=1)
    nearest = [int(qubit) for qubit in np.argsort(distance, kind="stable") if chip.working[qubit]]
    folded = torus.fold(lattice.cells).tolist()
    first: dict[int, int] = {}
    for qubit in nearest:
        first.setdefault(folded[qubit], qubit)
    period = lattice.cells[[first[number] for number in sorted(first)]]
    steps = np.array([[i * torus.a, j * torus.d] for i in range(-5, 6) for j in range(-9, 10)])
    steps = steps[np.argsort(np.abs(steps).sum(axis=1), kind="stable")]
    qubits = lattice.qubits_in(period + np.pad(steps, ((0, 0), (1, 0)))[:, np.newaxis])
    whole = (qubits >= 0).all(axis=1) & np.append(chip.working, False)[qubits].all(axis=1)
    near = (np.append(distance, np.inf)[qubits] <= row.reach).any(axis=1)
    return periodic_graph(chip, qubits[whole & near].ravel(), len(period))
