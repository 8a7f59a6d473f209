"""Copies laid side by side without end: small embeddings that fill the lattice's period, and unrolled.

A pool of small embeddings is found in a small ideal lattice. Folded onto a torus of a few cells (two qubits
that a sublattice moves onto each other are one), disjoint ones are packed; unrolled over the chip, they are
disjoint everywhere.
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
from worker.embedding.model import lattice
from worker.embedding.model.check import intact_tiles
from worker.embedding.model.graphs import Interactions, SolverGraph

if TYPE_CHECKING:
    from worker.embedding.copies.minorminer import Chains
    from worker.embedding.copies.occupancy import Occupancy
    from worker.embedding.copies.time_limit import TimeLimit
    from worker.embedding.model.lattice import Lattice

IntArray = NDArray[np.int64]

_KINDS = 8  # kinds of qubits, and so qubits in a cell, of Pegasus and of Zephyr and Chimera with 4 tracks
_WINDOWS = {"pegasus": (3, 4, 5), "zephyr": (2, 3, 4), "chimera": (3, 4, 6)}
_MOST_CELLS = 14
_TRIES = 150  # embeddings searched for a pool
_SHARE = 0.25  # of the time limit, for that
_ROUNDS = 200  # packings tried on each torus
_MOST_SHAPES = 60  # of a pool, packed on each torus
_NEARLY = 0.97  # of what counting qubits allows: no other torus is tried
_SPARE = 1  # qubits that a shape may have more than the smallest one


@dataclass(frozen=True, eq=False)
class Shape:
    """An embedding that can be laid anywhere: cells (q, 3) of its qubits, and the length of each chain."""

    cells: IntArray
    lengths: tuple[int, ...]

    def split(self, qubits: list[int]) -> Chains:
        """Qubits (q,) in the order of the cells, as chains."""
        chains, start = [], 0
        for length in self.lengths:
            chains.append(qubits[start : start + length])
            start += length
        return chains


@dataclass(frozen=True)
class Torus:
    """Cells modulo the shifts (a, b) and (0, d): a * d of them."""

    a: int
    b: int
    d: int

    def number(self, shifts: IntArray) -> IntArray:
        """(...,) the cell, 0 to a * d - 1, on which shifts (..., 2) fall."""
        rounds = shifts[..., 0] // self.a
        return (shifts[..., 0] - rounds * self.a) * self.d + (shifts[..., 1] - rounds * self.b) % self.d

    def fold(self, cells: IntArray) -> IntArray:
        """(...,) the qubit of the torus on which qubits in cells (..., 3) fall."""
        return cells[..., 0] * (self.a * self.d) + self.number(cells[..., 1:])


@cache
def ideal_chip(topology: str, side: int, tracks: int) -> SolverGraph:
    """A small lattice without faults."""
    make = {
        "pegasus": lambda: dwave.graphs.pegasus_graph(side),
        "zephyr": lambda: dwave.graphs.zephyr_graph(side, tracks),
        "chimera": lambda: dwave.graphs.chimera_graph(side, side, tracks),
    }[topology]()
    shape = {"pegasus": (side,), "zephyr": (side, tracks), "chimera": (side, side, tracks)}[topology]
    sizes = {"pegasus": 24 * side * (side - 1), "zephyr": 4 * tracks * side * (2 * side + 1)}
    qubits = np.array(sorted(make), dtype=np.int32)
    couplers = np.sort(np.array(list(make.edges), dtype=np.int32), axis=1)
    size = sizes.get(topology, 2 * side * side * tracks)
    couplers = couplers[np.lexsort(couplers.T[::-1])]
    return SolverGraph("window", f"{topology}{side}", topology, shape, size, qubits, couplers)


def find_shapes(
    graph: Interactions, solver: SolverGraph, time_limit: TimeLimit, rng: np.random.Generator
) -> list[Shape]:
    """Different small embeddings on windows of the solver's ideal lattice, the smallest first."""
    found: dict[bytes, Shape] = {}
    tracks = solver.shape[-1] if solver.topology != "pegasus" else 0
    for side in _WINDOWS[solver.topology]:
        ideal = ideal_chip(solver.topology, side, tracks)
        place = lattice.lattice_of(ideal)
        for number in range(_TRIES):
            if time_limit.spent_s > _SHARE * time_limit.limit_s or (number == 10 and not found):
                break
            seed = int(rng.integers(1 << 31))
            chains = minorminer.find_chains(graph, ideal.couplers, ideal.qubits, seed, time_limit.left_s)
            if chains is not None:
                shape = _shape(place, chains)
                found.setdefault(_key(shape), shape)
        if found:
            break
    shapes = sorted(found.values(), key=lambda shape: len(shape.cells))
    return [shape for shape in shapes if len(shape.cells) <= len(shapes[0].cells) + _SPARE]


def _shape(place: Lattice, chains: Chains) -> Shape:
    cells = place.cells[minorminer.qubits_of(chains)].copy()
    cells[:, 1:] -= cells[:, 1:].min(axis=0)
    return Shape(cells, tuple(map(len, chains)))


def _key(shape: Shape) -> bytes:
    return shape.cells[np.lexsort(shape.cells.T)].tobytes()


def tile_periodically(
    graph: Interactions,
    occupancy: Occupancy,
    shapes: list[Shape],
    time_limit: TimeLimit,
    rng: np.random.Generator,
) -> None:
    """Lay the periodic packing of shapes on an empty occupancy that leaves it the most copies."""
    kinds = int(occupancy.lattice.cells[:, 0].max()) + 1
    if not shapes or kinds != _KINDS:
        return
    smallest = len(shapes[0].cells)
    best: list[Chains] = []
    for torus in _tori(range(-(-smallest // kinds), _MOST_CELLS + 1)):
        cells = torus.a * torus.d
        if (
            time_limit.spent_s > 2 * _SHARE * time_limit.limit_s
            or len(best) >= _NEARLY * len(occupancy.solver.qubits) / smallest
        ):
            break
        packed = _pack_torus(torus, shapes[:_MOST_SHAPES], rng)
        if len(packed) * len(occupancy.solver.qubits) > len(best) * kinds * cells:
            best = max(best, unroll(torus, packed, occupancy), key=len)
    place_valid(graph, occupancy, best)


def place_valid(graph: Interactions, occupancy: Occupancy, copies: list[Chains]) -> None:
    """Place those of disjoint copies that hold on the occupancy's solver; couplers may be missing."""
    if copies:
        holds = intact_tiles(graph, occupancy.solver, Tiling.from_chains(copies))
        for chains, whole in zip(copies, holds.tolist(), strict=True):
            if whole:
                occupancy.place(chains)


def _tori(cells: range) -> Iterator[Torus]:
    for count in cells:
        for a in range(1, count + 1):
            if count % a == 0:
                yield from (Torus(a, b, count // a) for b in range(count // a))


def _pack_torus(torus: Torus, shapes: list[Shape], rng: np.random.Generator) -> list[tuple[Shape, int]]:
    """Disjoint shapes on a torus, each with the cell that it is moved by; the most of a few hundred tries."""
    count = torus.a * torus.d
    masks: dict[int, tuple[Shape, int]] = {}
    steps = np.array([[i, j] for i in range(torus.a) for j in range(torus.d)])
    for shape in shapes:
        moved = shape.cells + np.pad(steps, ((0, 0), (1, 0)))[:, np.newaxis]
        for number, places in enumerate(torus.fold(moved).tolist()):
            if len(set(places)) == len(places):
                masks.setdefault(sum(1 << place for place in places), (shape, number))
    every = list(masks)
    ceiling = count * _KINDS // len(shapes[0].cells)
    best: list[int] = []
    for _ in range(_ROUNDS if every else 0):
        left, chosen = every, list[int]()
        while left:
            mask = left[int(rng.integers(len(left)))]
            chosen.append(mask)
            left = [other for other in left if not other & mask]
        best = max(best, chosen, key=len)
        if len(best) == ceiling:
            break
    return [masks[mask] for mask in best]


def unroll(torus: Torus, packed: list[tuple[Shape, int]], occupancy: Occupancy) -> list[Chains]:
    """The packing laid all over the occupancy, at the phase that keeps the most copies."""
    place = occupancy.lattice
    shifts = place.shifts
    phase = torus.number(shifts)
    free = np.append(occupancy.owner == -1, False)
    laid: list[list[Chains]] = [[] for _ in range(torus.a * torus.d)]
    for shape, cell in packed:
        start = np.array([cell // torus.d, cell % torus.d])
        qubits = place.find(shape.cells + np.pad(shifts + start, ((0, 0), (1, 0)))[:, np.newaxis])
        whole = free[qubits].all(axis=1)
        for number, chosen in zip(phase[whole].tolist(), qubits[whole].tolist(), strict=True):
            laid[number].append(shape.split(chosen))
    return max(laid, key=len)
