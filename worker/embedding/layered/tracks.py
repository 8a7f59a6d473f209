"""Tracks: qubits end to end on one line, each coupled to the next; a lattice is tracks that cross.

A Pegasus line is one track, a Zephyr line two for each k (its qubits overlap by half), a Chimera line one for
each k.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from worker.embedding.model.lattice import Lattice

IntArray = NDArray[np.int64]
Range = tuple[int, int]  # lines from .. to, both included


@dataclass(frozen=True, eq=False)
class Tracks:
    """T tracks of one direction, by line, with S qubits at most.

    Attributes:
        qubits: (T, S) int64, in order along the track; -1 if a qubit does not work or is not free.
        lines: (T,) int64, the line of each track.
        starts: (T,) int64, the crossing line where the first qubit begins.
        span: number of crossing lines that each qubit covers.

    Examples:
        One track of three qubits that cover four lines each; the last one does not work:

        >>> tracks = Tracks(np.array([[7, 8, -1]]), np.array([0]), np.array([2]), span=4)
        >>> tracks.pieces(0, 3, 8)
        [7, 8]
        >>> tracks.covers(0, [(2, 4), (6, 9)]), tracks.covers(0, [(2, 10)])
        (True, False)
    """

    qubits: IntArray
    lines: IntArray
    starts: IntArray
    span: int

    def piece_range(self, track: int, lines: Range) -> tuple[int, int]:
        """Return the first and last index on ``track`` for a range of crossing ``lines``; may lie outside."""
        start = int(self.starts[track])
        return (lines[0] - start) // self.span, (lines[1] - start) // self.span

    def covers(self, track: int, ranges: list[Range]) -> bool:
        """Return whether ``track`` has all qubits for ``ranges``, left to right, each for one range only."""
        end = -1
        for lines in ranges:
            first, last = self.piece_range(track, lines)
            if (
                first <= end
                or last >= self.qubits.shape[1]
                or self.gaps[track][last + 1] > self.gaps[track][first]
            ):
                return False
            end = last
        return True

    def pieces(self, track: int, low: int, high: int) -> list[int]:
        """Return the qubits of ``track`` that cover the crossing lines ``low`` to ``high``."""
        first, last = self.piece_range(track, (low, high))
        qubits: list[int] = self.qubits[track, first : last + 1].tolist()
        return qubits

    @property
    def period(self) -> int:
        """Number of tracks after which the lattice repeats."""
        return self.span * round(len(self.lines) / (int(self.lines.max()) + 1))

    @cached_property
    def gaps(self) -> list[list[int]]:
        """For each track, how many of its first qubits are missing: (T, S + 1)."""
        gaps: list[list[int]] = np.pad(np.cumsum(self.qubits < 0, axis=1), ((0, 0), (1, 0))).tolist()
        return gaps


def tracks_of(lattice: Lattice, free: NDArray[np.bool_], u: int) -> Tracks:
    """Return the tracks of the ``free`` qubits (size,) of ``lattice``: vertical (``u`` = 0) or horizontal."""
    qubits = np.flatnonzero(lattice.sites[:, 0] == u)
    _, line, track, start = lattice.sites[qubits].T
    phase = start % lattice.span
    order = np.lexsort((start, track, phase, line))
    qubits, line, phase, start = qubits[order], line[order], phase[order], start[order]
    fresh = np.concatenate(([True], np.diff(start) != lattice.span))
    heads = np.flatnonzero(fresh)
    number = np.cumsum(fresh) - 1
    along = np.arange(len(qubits)) - heads[number]
    table = np.full((len(heads), int(along.max()) + 1), -1, dtype=np.int64)
    table[number, along] = np.where(free[qubits], qubits, -1)
    return Tracks(table, line[heads], start[heads], lattice.span)
