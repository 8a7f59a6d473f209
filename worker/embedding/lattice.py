"""The ideal lattices that solvers are cut from: where each qubit lies, and how embeddings are moved about.

Every qubit is a short piece of a line. A vertical one (``u`` = 0) lies at some x and covers a span of y, a
horizontal one (``u`` = 1) the other way round; where a vertical and a horizontal piece cross, there is a
coupler. Moved by a multiple of ``basis``, the lattice (but for its border) falls onto itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from worker.embedding.graph import SolverGraph

IntArray = NDArray[np.int64]

# Where the pieces of the twelve lines of a Pegasus group start, modulo 12: the default offsets of
# dwave.graphs.pegasus_graph, vertical and horizontal.
_PEGASUS_OFFSETS = np.array([[2, 10, 6], [6, 2, 10]]).repeat(4, axis=1)
_PEGASUS_SPAN = 12


@dataclass(frozen=True, eq=False)
class Lattice:
    """One ideal lattice; indices are those of the solver (dwave.graphs' linear ones).

    sites: (size, 4) int64: u, line (x of a vertical qubit, y of a horizontal one), track on that line, and
        where its span starts. span: its length; a piece covers ``start .. start + span - 1``.
    basis: (2, 2) int64: two shifts (dx, dy) that generate all of the lattice's.
    """

    sites: IntArray
    span: int
    basis: IntArray

    @cached_property
    def centres(self) -> NDArray[np.float64]:
        """(size, 2) float64: x and y of the middle of each qubit, in line units."""
        along = self.sites[:, 3] + (self.span - 1) / 2
        vertical = self.sites[:, 0] == 0
        line = self.sites[:, 1].astype(np.float64)
        return np.stack([np.where(vertical, line, along), np.where(vertical, along, line)], axis=1)

    @cached_property
    def _index(self) -> IntArray:
        """Dense table from a site to its qubit; -1 where there is none."""
        table = np.full(self.sites.max(axis=0) + 1, -1, dtype=np.int64)
        table[tuple(self.sites.T)] = np.arange(len(self.sites))
        return table

    def find(self, sites: IntArray) -> IntArray:
        """Qubits (...,) at sites (..., 4); -1 outside the lattice."""
        shape = np.array(self._index.shape)
        inside = np.all((sites >= 0) & (sites < shape), axis=-1)
        clipped = np.where(inside[..., np.newaxis], sites, 0)
        return np.where(inside, self._index[tuple(np.moveaxis(clipped, -1, 0))], -1)

    def moved(self, sites: IntArray, shifts: IntArray) -> IntArray:
        """Sites (q, 4) moved by each of shifts (s, 2), in multiples of ``basis``: (s, q, 4) int64."""
        steps = shifts @ self.basis
        vertical = sites[:, 0] == 0
        change = np.zeros((len(steps), len(sites), 4), dtype=np.int64)
        change[..., 1] = np.where(vertical, steps[:, :1], steps[:, 1:])
        change[..., 3] = np.where(vertical, steps[:, 1:], steps[:, :1])
        return sites + change

    @cached_property
    def shifts(self) -> IntArray:
        """(s, 2) int64: every shift, in multiples of ``basis``, from a site of the lattice to another."""
        extent = int(self.sites[:, [1, 3]].max()) + 1
        steps = np.indices((4 * extent + 1,) * 2).reshape(2, -1).T - 2 * extent
        near: IntArray = steps[(np.abs(steps @ self.basis) <= extent).all(axis=1)].astype(np.int64)
        return near


def of(solver: SolverGraph) -> Lattice:
    """The ideal lattice of a solver."""
    return ideal(solver.topology, solver.shape)


@cache
def ideal(topology: str, shape: tuple[int, ...]) -> Lattice:
    """The lattice of a topology; shape as the solver states it: (16,) for P16, (12, 4) for Z12."""
    if topology == "pegasus":
        return _pegasus(shape[0])
    if topology == "zephyr":
        return _zephyr(shape[0], shape[1])
    return _chimera(*shape[:3])


def _grid(*sides: int) -> list[IntArray]:
    return [axis.ravel() for axis in np.indices(sides, dtype=np.int64)]


def _pegasus(m: int) -> Lattice:
    u, w, k, z = _grid(2, m, 12, m - 1)
    start = _PEGASUS_SPAN * z + _PEGASUS_OFFSETS[u, k]
    sites = np.stack([u, 12 * w + k, np.zeros_like(u), start], axis=1)
    return Lattice(sites, _PEGASUS_SPAN, np.array([[4, -4], [12, 0]], dtype=np.int64))


def _zephyr(m: int, tracks: int) -> Lattice:
    u, w, k, j, z = _grid(2, 2 * m + 1, tracks, 2, m)
    return Lattice(np.stack([u, w, k, 2 * z + j], axis=1), 2, np.eye(2, dtype=np.int64))


def _chimera(rows: int, columns: int, tracks: int) -> Lattice:
    row, column, u, k = _grid(rows, columns, 2, tracks)
    line, start = np.where(u == 0, column, row), np.where(u == 0, row, column)
    return Lattice(np.stack([u, line, k, start], axis=1), 1, np.eye(2, dtype=np.int64))
