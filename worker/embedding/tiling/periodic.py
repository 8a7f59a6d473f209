"""Periodic packings: small embeddings packed on a torus of unit cells, and repeated over the chip.

Pegasus, Zephyr and Chimera are grids of unit cells (see `model/lattice.py`), and an embedding that is moved
by whole cells stays one. The steps:

1. `find_shapes`: minorminer finds a pool of embeddings on a small ideal lattice. A shape is an embedding up
   to a shift.
2. Cells modulo a sublattice form a torus; two qubits that the sublattice moves onto each other become one. On
   each small torus, as many disjoint shapes as possible are packed, as bit masks, by random greedy packing.
3. `unroll` repeats the packing over the chip. Copies that are disjoint on the torus are disjoint everywhere.
   Of all phases of the packing, that with the most copies on free qubits is taken.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import dwave.graphs
import numpy as np
from numpy.typing import NDArray

from schema.codecs.tiling import Tiling
from worker.embedding.copies import minorminer
from worker.embedding.copies.occupancy import FREE
from worker.embedding.model.check import intact_tiles
from worker.embedding.model.graphs import Interactions, SolverGraph
from worker.embedding.model.lattice import lattice_of, lattice_size

if TYPE_CHECKING:
    from worker.embedding.copies.minorminer import Chains
    from worker.embedding.copies.occupancy import Occupancy
    from worker.embedding.copies.task import TilingTask
    from worker.embedding.model.lattice import Lattice

IntArray = NDArray[np.int64]

KINDS = 8  # kinds of qubits, and so qubits in a cell, of Pegasus and of Zephyr and Chimera with 4 tracks
_SIDES = {"pegasus": (3, 4, 5), "zephyr": (2, 3, 4), "chimera": (3, 4, 6)}  # of lattices searched for shapes
_MOST_CELLS = 14
_TRIES = 150  # embeddings searched for a pool
_SHARE = 0.25  # of the time limit, for that
_ROUNDS = 200  # packings tried on each torus
_MOST_SHAPES = 60  # of a pool, packed on each torus
_NEARLY = 0.97  # of the bound by qubits; from there on no other torus is tried
_SPARE = 1  # qubits that a shape may have more than the smallest one


@dataclass(frozen=True, eq=False)
class Shape:
    """An embedding up to a shift by whole cells.

    Attributes:
        cells: (q, 3) int64, kind and cell of each qubit, chain by chain; see `Lattice.cells`.
        lengths: qubits of each chain.
    """

    cells: IntArray
    lengths: tuple[int, ...]

    @classmethod
    def from_chains(cls, lattice: Lattice, chains: Chains) -> Shape:
        """Return the shape of ``chains`` on ``lattice``, moved to the lowest cells."""
        cells = lattice.cells[minorminer.qubits_of(chains)].copy()
        cells[:, 1:] -= cells[:, 1:].min(axis=0)
        return cls(cells, tuple(map(len, chains)))

    def split(self, qubits: list[int]) -> Chains:
        """Return ``qubits`` (q,), in the order of the cells, as chains."""
        chains, start = [], 0
        for length in self.lengths:
            chains.append(qubits[start : start + length])
            start += length
        return chains


@dataclass(frozen=True)
class Torus:
    """Cells modulo the shifts (a, b) and (0, d), with 0 <= b < d: a * d cells.

    Every sublattice of the cells has exactly one such basis (its Hermite normal form).

    Examples:
        A shift by (2, 1) leads back to cell 0 of this torus of six cells:

        >>> import numpy as np
        >>> Torus(2, 1, 3).number(np.array([[0, 0], [1, 0], [2, 0], [2, 1], [0, 3]])).tolist()
        [0, 3, 2, 0, 0]
    """

    a: int
    b: int
    d: int

    def number(self, shifts: IntArray) -> IntArray:
        """Return the cell (...,), 0 to a * d - 1, that ``shifts`` (..., 2) lead to from cell 0."""
        rounds = shifts[..., 0] // self.a
        return (shifts[..., 0] - rounds * self.a) * self.d + (shifts[..., 1] - rounds * self.b) % self.d

    def fold(self, cells: IntArray) -> IntArray:
        """Return the number (...,) of the torus qubit in each of ``cells`` (..., 3: kind and cell)."""
        return cells[..., 0] * (self.a * self.d) + self.number(cells[..., 1:])


@cache
def ideal_chip(topology: str, side: int, tracks: int) -> SolverGraph:
    """Return an ideal lattice of ``topology`` with ``side`` cells; ``tracks`` counts but for Pegasus."""
    graph = {
        "pegasus": lambda: dwave.graphs.pegasus_graph(side),
        "zephyr": lambda: dwave.graphs.zephyr_graph(side, tracks),
        "chimera": lambda: dwave.graphs.chimera_graph(side, side, tracks),
    }[topology]()
    shape = {"pegasus": (side,), "zephyr": (side, tracks), "chimera": (side, side, tracks)}[topology]
    qubits = np.array(sorted(graph), dtype=np.int32)
    couplers = np.sort(np.array(list(graph.edges), dtype=np.int32), axis=1)
    couplers = couplers[np.lexsort(couplers.T[::-1])]
    size = lattice_size(topology, shape)
    return SolverGraph("ideal", f"{topology}{side}", topology, shape, size, qubits, couplers)


def find_shapes(task: TilingTask) -> list[Shape]:
    """Return different small embeddings of the graph of ``task``, the smallest first.

    minorminer embeds on ideal lattices of the chip's topology; larger ones are tried only if the smaller hold
    none.
    """
    shapes: dict[bytes, Shape] = {}
    topology = task.solver.topology
    tracks = task.solver.shape[-1] if topology != "pegasus" else 0
    for side in _SIDES[topology]:
        chip = ideal_chip(topology, side, tracks)
        for number in range(_TRIES):
            if task.time_limit.has_spent(_SHARE) or (number == 10 and not shapes):
                break
            task.time_limit.report_step("shapes")
            seed, left_s = task.draw_seed(), task.time_limit.left_s
            chains = minorminer.find_chains(task.graph, chip.couplers, chip.qubits, seed, left_s)
            if chains is not None:
                shape = Shape.from_chains(lattice_of(chip), chains)
                key = shape.cells[np.lexsort(shape.cells.T)].tobytes()
                shapes.setdefault(key, shape)
        if shapes:
            break
    smallest_first = sorted(shapes.values(), key=lambda shape: len(shape.cells))
    return [shape for shape in smallest_first if len(shape.cells) <= len(smallest_first[0].cells) + _SPARE]


def tile_periodically(task: TilingTask, shapes: list[Shape]) -> None:
    """Place the periodic packing of ``shapes`` with the most copies on the empty chip of ``task``.

    Nothing is placed without shapes, or on a lattice whose cells have another number of qubits than 8.
    """
    occupancy, qubits = task.occupancy, len(task.solver.qubits)
    if not shapes or int(occupancy.lattice.cells[:, 0].max()) + 1 != KINDS:
        return
    smallest = len(shapes[0].cells)
    best: list[Chains] = []
    for torus in _tori(range(-(-smallest // KINDS), _MOST_CELLS + 1)):
        if task.time_limit.has_spent(2 * _SHARE) or len(best) >= _NEARLY * qubits / smallest:
            break
        task.time_limit.report_step("pack")
        packed = _pack_torus(torus, shapes[:_MOST_SHAPES], task.rng)
        if len(packed) * qubits > len(best) * KINDS * torus.a * torus.d:
            best = max(best, unroll(torus, packed, occupancy), key=len)
    place_valid(task.graph, occupancy, best)


def place_valid(graph: Interactions, occupancy: Occupancy, copies: list[Chains]) -> None:
    """Place those of the disjoint ``copies`` of ``graph`` on ``occupancy`` whose couplers all work."""
    if copies:
        valid = intact_tiles(graph, occupancy.solver, Tiling.from_chains(copies))
        for chains, is_valid in zip(copies, valid.tolist(), strict=True):
            if is_valid:
                occupancy.place(chains)


def _tori(cells: range) -> Iterator[Torus]:
    for count in cells:
        for a in range(1, count + 1):
            if count % a == 0:
                yield from (Torus(a, b, count // a) for b in range(count // a))


def _pack_torus(torus: Torus, shapes: list[Shape], rng: np.random.Generator) -> list[tuple[Shape, int]]:
    """Return disjoint shapes on ``torus``, each with the cell that it is moved by.

    Of ``_ROUNDS`` random greedy packings that with the most shapes is taken. Shapes that meet themselves on
    the torus are left out.
    """
    count = torus.a * torus.d
    masks: dict[int, tuple[Shape, int]] = {}
    steps = np.array([[i, j] for i in range(torus.a) for j in range(torus.d)])
    for shape in shapes:
        moved = shape.cells + np.pad(steps, ((0, 0), (1, 0)))[:, np.newaxis]
        for number, places in enumerate(torus.fold(moved).tolist()):
            if len(set(places)) == len(places):
                masks.setdefault(sum(1 << place for place in places), (shape, number))
    all_masks = list(masks)
    bound = count * KINDS // len(shapes[0].cells)
    best: list[int] = []
    for _ in range(_ROUNDS if all_masks else 0):
        left, chosen = all_masks, list[int]()
        while left:
            mask = left[int(rng.integers(len(left)))]
            chosen.append(mask)
            left = [other for other in left if not other & mask]
        best = max(best, chosen, key=len)
        if len(best) == bound:
            break
    return [masks[mask] for mask in best]


def unroll(torus: Torus, packed: list[tuple[Shape, int]], occupancy: Occupancy) -> list[Chains]:
    """Return the copies on free qubits when a packing is repeated over a chip.

    Args:
        torus: cells after which the packing repeats.
        packed: shapes that are disjoint on ``torus``, each with the cell that it is moved by.
        occupancy: the chip.

    Returns:
        Disjoint copies, of that phase of the packing (one for each cell of the torus) that gives the most.
    """
    lattice = occupancy.lattice
    shifts = lattice.shifts
    phase = torus.number(shifts)
    free = np.append(occupancy.owner == FREE, False)
    by_phase: list[list[Chains]] = [[] for _ in range(torus.a * torus.d)]
    for shape, cell in packed:
        start = np.array([cell // torus.d, cell % torus.d])
        qubits = lattice.qubits_in(shape.cells + np.pad(shifts + start, ((0, 0), (1, 0)))[:, np.newaxis])
        whole = free[qubits].all(axis=1)
        for number, chosen in zip(phase[whole].tolist(), qubits[whole].tolist(), strict=True):
            by_phase[number].append(shape.split(chosen))
    return max(by_phase, key=len)
