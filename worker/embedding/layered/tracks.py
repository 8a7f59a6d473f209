"""Tracks: qubits in a row, end to end, each coupled to the next; a lattice is tracks that cross.

A Pegasus line is one track, a Zephyr line two (its pieces overlap by half), a Chimera line one.
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
    """The tracks of one direction, by line.

    qubits: (T, S) int64, in order along the track; -1 where a qubit does not work or is taken. lines: (T,)
    the line of each. starts: (T,) where the first piece begins. span: qubits cover this many lines each.
    """

    qubits: IntArray
    lines: IntArray
    starts: IntArray
    span: int

    def numbers(self, track: int, lines: Range) -> tuple[int, int]:
        """The first and the last piece of a track that cover a range of lines; may lie beyond its ends."""
        start = int(self.starts[track])
        return (lines[0] - start) // self.span, (lines[1] - start) // self.span

    def holds(self, track: int, ranges: list[Range]) -> bool:
        """Whether a track has every piece for these ranges (left to right), and no two need the same."""
        end = -1
        for lines in ranges:
            first, last = self.numbers(track, lines)
            if (
                first <= end
                or last >= self.qubits.shape[1]
                or self.gaps[track][last + 1] > self.gaps[track][first]
            ):
                return False
            end = last
        return True

    def pieces(self, track: int, low: int, high: int) -> list[int]:
        """The qubits of a track that cover lines low to high."""
        first, last = self.numbers(track, (low, high))
        qubits: list[int] = self.qubits[track, first : last + 1].tolist()
        return qubits

    @property
    def period(self) -> int:
        """Tracks after which the lattice repeats, along the lines."""
        return self.span * round(len(self.lines) / (int(self.lines.max()) + 1))

    @cached_property
    def gaps(self) -> list[list[int]]:
        """For each track, how many of its first pieces have no qubit: (T, S + 1)."""
        gaps: list[list[int]] = np.pad(np.cumsum(self.qubits < 0, axis=1), ((0, 0), (1, 0))).tolist()
        return gaps


def tracks_of(lattice: Lattice, free: NDArray[np.bool_], u: int) -> Tracks:
    """The vertical (``u`` = 0) or horizontal tracks of what is free of a lattice."""
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
