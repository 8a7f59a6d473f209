"""The ideal lattices of which chips are parts: where each qubit lies, and how embeddings are shifted.

Each qubit covers a part of a line. A vertical one (``u`` = 0) lies at some x and covers a range of y, a
horizontal one (``u`` = 1) the other way round. Where a vertical and a horizontal qubit cross, there is a
coupler; further couplers join qubits of the same direction (Boothby et al. 2020, arXiv 2003.00133, for
Pegasus; Boothby, King, Raymond 2021, D-Wave report 14-1056A-A, for Zephyr).

The lattice is a grid of unit cells with one qubit of each kind (in Pegasus 8 kinds, in Zephyr and Chimera two
for each track). Shifted by whole cells it falls onto itself, except at its border. So an embedding that is
shifted by whole cells is one, too.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from schema.errors import Refused

if TYPE_CHECKING:
    from worker.embedding.model.graphs import SolverGraph

IntArray = NDArray[np.int64]

# Where the pieces of the twelve lines of a Pegasus group start, modulo 12: the default offsets of
# dwave.graphs.pegasus_graph, vertical and horizontal.
_PEGASUS_OFFSETS = np.array([[2, 10, 6], [6, 2, 10]]).repeat(4, axis=1)
_PEGASUS_SPAN = 12


@dataclass(frozen=True, eq=False)
class Lattice:
    """One ideal lattice of ``size`` qubits with the solver's indices (dwave.graphs' linear ones).

    Attributes:
        sites: (size, 4) int64: u, line (x of a vertical qubit, y of a horizontal one), track on that line,
            and where its span starts.
        span: length of a qubit: it covers ``start .. start + span - 1``.
        cells: (size, 3) int64: kind, and the two coordinates of the cell. Qubits a and b of one kind are
            shifted onto each other by ``cells[b, 1:] - cells[a, 1:]``.

    Examples:
        A Zephyr Z2 with 4 tracks has 160 qubits of 8 kinds; a qubit and its copy one cell further:

        >>> lattice = ideal_lattice("zephyr", (2, 4))
        >>> lattice.cells[0].tolist(), int(lattice.qubits_in(lattice.cells[0] + [0, 0, 1]))
        ([0, 0, 0], 2)
    """

    sites: IntArray
    span: int
    cells: IntArray

    @cached_property
    def centres(self) -> NDArray[np.float64]:
        """(size, 2) float64: x and y of the middle of each qubit, in line units."""
        along = self.sites[:, 3] + (self.span - 1) / 2
        vertical = self.sites[:, 0] == 0
        line = self.sites[:, 1].astype(np.float64)
        return np.stack([np.where(vertical, line, along), np.where(vertical, along, line)], axis=1)

    @cached_property
    def _table(self) -> tuple[IntArray, IntArray]:
        """Return the qubit of each kind and cell, -1 if there is none; and the lowest of each coordinate."""
        lowest = self.cells.min(axis=0)
        table = np.full(self.cells.max(axis=0) - lowest + 1, -1, dtype=np.int64)
        table[tuple((self.cells - lowest).T)] = np.arange(len(self.cells))
        return table, lowest

    def qubits_in(self, cells: IntArray) -> IntArray:
        """Return the qubits (...,) in ``cells`` (..., 3: kind and cell); -1 outside the lattice."""
        table, lowest = self._table
        places = cells - lowest
        inside = np.all((places >= 0) & (places < table.shape), axis=-1)
        places = np.where(inside[..., np.newaxis], places, 0)
        return np.where(inside, table[tuple(np.moveaxis(places, -1, 0))], -1)

    @cached_property
    def shifts(self) -> IntArray:
        """(s, 2) int64: all shifts by which a qubit of the lattice may reach another one."""
        extent = np.ptp(self.cells[:, 1:], axis=0)
        steps: IntArray = np.indices(2 * extent + 1).reshape(2, -1).T - extent
        return steps


def lattice_of(solver: SolverGraph) -> Lattice:
    """Return the ideal lattice of ``solver``.

    Raises:
        Refused: the solver's number of qubits is not that of its topology and shape.
    """
    sides = {"pegasus": 1, "zephyr": 2, "chimera": 3}[solver.topology]
    shape = solver.shape[:sides]
    size = lattice_size(solver.topology, shape)
    if size != solver.size:
        raise Refused(
            f"solver {solver.name} is {solver.topology}{list(shape)} with {solver.size} qubits; that lattice "
            f"has {size}"
        )
    return ideal_lattice(solver.topology, shape)


@cache
def ideal_lattice(topology: str, shape: tuple[int, ...]) -> Lattice:
    """Return the lattice of a ``topology`` and ``shape``: (16,) for P16, (12, 4) for Z12."""
    if topology == "pegasus":
        return _pegasus(*shape)
    return _zephyr(*shape) if topology == "zephyr" else _chimera(*shape)


def lattice_size(topology: str, shape: tuple[int, ...]) -> int:
    """Return the number of indices of a lattice of this ``topology`` and ``shape``."""
    if topology == "pegasus":
        return 24 * shape[0] * (shape[0] - 1)
    if topology == "zephyr":
        return 4 * shape[0] * (2 * shape[0] + 1) * shape[1]
    return 2 * shape[0] * shape[1] * shape[2]


def coupling_groups(lattice: Lattice, couplers: IntArray) -> IntArray:
    """Return the group, 0 or 1, that each of ``couplers`` (P, 2) of a Zephyr ``lattice`` is in at its ends.

    D-Wave limits the sum of J in each of the two groups of a qubit. (P, 2) int64; the groups are those of
    `dwave.system.coupling_groups`.
    """
    u, _, _, start = np.moveaxis(lattice.sites[couplers], -1, 0)
    other_u, other_line, _, other_start = np.moveaxis(lattice.sites[couplers[:, ::-1]], -1, 0)
    z, other_z = start // 2, other_start // 2
    along = np.where(start % 2 == other_start % 2, (other_z - z) // 2, z + start % 2 - other_z)
    groups: IntArray = np.where(u == other_u, along, start + 1 - other_line) % 2
    return groups


def _grid(*sides: int) -> list[IntArray]:
    return [axis.ravel() for axis in np.indices(sides, dtype=np.int64)]


def _pegasus(m: int) -> Lattice:
    # A shift by one cell of the first coordinate is (4, -4) in line units, of the second (12, 0).
    u, w, k, z = _grid(2, m, 12, m - 1)
    line, start = 12 * w + k, _PEGASUS_SPAN * z + _PEGASUS_OFFSETS[u, k]
    first, group = _PEGASUS_OFFSETS[u, 0], line - k % 4
    i = np.where(u == 0, first - start, -group) // 4
    j = np.where(u == 0, group - 4 * i, start - first - 4 * i) // 12
    sites = np.stack([u, line, np.zeros_like(u), start], axis=1)
    return Lattice(sites, _PEGASUS_SPAN, np.stack([4 * u + k % 4, i, j], axis=1))


def _zephyr(m: int, tracks: int) -> Lattice:
    u, w, k, j, z = _grid(2, 2 * m + 1, tracks, 2, m)
    return _square(u, w, k, 2 * z + j, tracks, span=2)


def _chimera(rows: int, columns: int, tracks: int) -> Lattice:
    row, column, u, k = _grid(rows, columns, 2, tracks)
    return _square(u, np.where(u == 0, column, row), k, np.where(u == 0, row, column), tracks, span=1)


def _square(u: IntArray, line: IntArray, track: IntArray, start: IntArray, tracks: int, span: int) -> Lattice:
    x, y = np.where(u == 0, line, start), np.where(u == 0, start, line)
    kind = tracks * u + track
    return Lattice(np.stack([u, line, track, start], axis=1), span, np.stack([kind, x, y], axis=1))
