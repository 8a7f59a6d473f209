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
from worker.embedding.tiling.bit_graph import Sheet, repeating
from worker.embedding.tiling.heads import Annealer, HeadGraph
from worker.embedding.tiling.periodic import Shape, Torus, place_whole, unroll, window

if TYPE_CHECKING:
    from worker.embedding.copies.minorminer import Chains
    from worker.embedding.copies.occupancy import Board
    from worker.embedding.copies.time_limit import TimeLimit
    from worker.embedding.model.graphs import Interactions

IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class _Band:
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


_BANDS = {
    "zephyr": _Band(depth=2, side=14, reach=4.5, moves=150_000, qubits_a_unit=2.0),
    "pegasus": _Band(depth=3, side=20, reach=36.0, moves=400_000, qubits_a_unit=2.5),
}
_KINDS = 8
_WIDTHS = 3  # widths tried, in turns
_SHARE = 0.6  # of the time limit, for the search of shapes


def tile(
    graph: Interactions, head: HeadGraph, board: Board, clock: TimeLimit, rng: np.random.Generator
) -> None:
    """Lay as many copies of a head on an empty board as bands of one shape hold; none where none is found."""
    band = _BANDS.get(board.solver.topology)
    if band is None or int(board.lattice.cells[:, 0].max()) + 1 != _KINDS:
        return
    first = int(band.qubits_a_unit * graph.units) // (_KINDS * band.depth)
    best: list[Chains] = []
    while clock.spent_s < _SHARE * clock.limit_s:
        for width in range(max(1, first), first + _WIDTHS):
            torus = Torus(width, 0, band.depth)
            if len(board.solver.qubits) <= len(best) * width * band.depth * _KINDS:
                break
            shape = _search(head, torus, band, board, clock, rng)
            if shape is not None:
                best = max(best, unroll(torus, [(shape, 0)], board), key=len)
            clock.tell("shapes")
    place_whole(graph, board, best)


def _search(
    head: HeadGraph, torus: Torus, band: _Band, board: Board, clock: TimeLimit, rng: np.random.Generator
) -> Shape | None:
    sheet = _sheet(board.solver.topology, torus, band)
    annealer = Annealer(head, sheet, random.Random(int(rng.integers(1 << 31))))  # noqa: S311 - no secret
    chains = annealer.search(band.moves, lambda: clock.spent_s > _SHARE * clock.limit_s)
    if chains is None:
        return None
    place = lattice.of(window(board.solver.topology, band.side, 4))
    cells = place.cells[qubits_of(chains)].copy()
    cells[:, 1:] -= cells[:, 1:].min(axis=0)
    return Shape(cells, tuple(map(len, chains)))


def _sheet(topology: str, torus: Torus, band: _Band) -> Sheet:
    """The middle of an ideal lattice, in periods of the torus: the period around the middle comes first."""
    solver = window(topology, band.side, 4)
    place = lattice.of(solver)
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
    return repeating(solver, qubits[whole & near].ravel(), len(period))
