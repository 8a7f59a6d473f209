"""Constructs embeddings of layered networks: columns and rows of the network on tracks that cross.

A `LayeredNetwork` says which units are columns and which are rows. Units with windows run along vertical
tracks in the order of their windows, pixels and hidden units along horizontal ones. A class unit runs along
one of each, so it crosses all others. Where a column and a row cross, their qubits are coupled. The steps:
1. For each of a few offsets, `LineLayout.draft` chooses the next tracks on which the needed qubits are free,
   so defects are avoided. Rows depend on the lines of the columns and the other way round: they are chosen in
   turns until both fit.
2. The drafts with the fewest qubits are repaired (missing couplers) and trimmed (qubits that no edge needs).
3. The smallest embedding is taken.

Measured on ideal lattices, `conv358` takes 1,557 qubits of P16 (chains of 13 at most) in 1.0 s, and 1,212
of Z12 (10) in 2.1 s; minorminer took 243 s for 2,019 qubits of P16:

    pytest -m bench -s tests/benchmarks/test_embeddings.py -k layered
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from worker.embedding.copies.minorminer import Chains, embedding_size, qubits_of
from worker.embedding.layered.layers import LayeredNetwork, as_layered
from worker.embedding.layered.tracks import Range, Tracks, tracks_of
from worker.embedding.layered.trim import ChainEditor
from worker.embedding.model.lattice import lattice_of

if TYPE_CHECKING:
    from worker.embedding.model.graphs import Interactions, SolverGraph

IntArray = NDArray[np.int64]
Draft = dict[int, list[int]]

_ROUNDS = 6  # columns and rows are chosen in turns, until both fit
_STEP = 2  # tracks between two offsets: lines come in fours, qubits begin in the middle of a four
_BUILT = 4  # drafts that are repaired and trimmed: those with the fewest qubits
_DEPTH = 3  # offsets tried for a stacked copy from the first that fits, in steps


@dataclass(frozen=True, eq=False)
class LineLayout:
    """A layered network on the tracks of a lattice.

    Attributes:
        layers: columns and rows of the network.
        column_tracks: tracks of the direction in which columns run.
        row_tracks: tracks across them.
    """

    layers: LayeredNetwork
    column_tracks: Tracks
    row_tracks: Tracks

    def offsets(self) -> Iterator[tuple[int, int]]:
        """Return the first column and row track of each draft.

        These are the offsets within one period of the lattice, at both sides and in the middle of the chip.
        """
        columns, rows = (
            sorted(
                {base + step for base in (0, room // 2, room - period) for step in range(0, period, _STEP)}
            )
            for room, period in (
                (len(self.column_tracks.lines) - len(self.layers.columns), self.column_tracks.period),
                (len(self.row_tracks.lines) - len(self.layers.rows), self.row_tracks.period),
            )
        )
        return product(columns, rows)

    def draft(self, left: int, top: int) -> Draft | None:
        """Return chains by unit on tracks from column ``left`` and row ``top`` on; None if too few are free.

        Chains of a draft cover whole ranges of lines; they are connected, but an edge may lack a coupler.
        """
        if left < 0 or top < 0 or top + len(self.layers.rows) > len(self.row_tracks.lines):
            return None
        rows = list(range(top, top + len(self.layers.rows)))
        columns: list[int] = []
        for _ in range(_ROUNDS):
            before = columns, rows
            column_ranges = _to_lines(self.layers.spans, self.row_tracks.lines[rows])
            columns = _choose_tracks(self.column_tracks, left, [[lines] for lines in column_ranges])
            if not columns:
                return None
            lines = self.column_tracks.lines[columns]
            row_ranges = [_to_lines([(s.first, s.last) for s in row], lines) for row in self.layers.rows]
            rows = _choose_tracks(self.row_tracks, top, row_ranges)
            if not rows:
                return None
            if (columns, rows) == before:
                return self._chains(columns, column_ranges, rows, row_ranges)
        return None

    def _chains(
        self, columns: list[int], column_ranges: list[Range], rows: list[int], row_ranges: list[list[Range]]
    ) -> Draft:
        chains: Draft = {unit: [] for unit in self.layers.columns}
        for unit, column, lines in zip(self.layers.columns, columns, column_ranges, strict=True):
            chains[unit] += self.column_tracks.pieces(column, *lines)
        for row, segments, ranges in zip(rows, self.layers.rows, row_ranges, strict=True):
            for segment, lines in zip(segments, ranges, strict=True):
                chains.setdefault(segment.unit, []).extend(self.row_tracks.pieces(row, *lines))
        return chains


def _to_lines(spans: Sequence[tuple[int, int]], lines: IntArray) -> list[Range]:
    """Return spans of columns or rows as ranges of lattice lines, given the line of each."""
    return [(int(lines[first]), int(lines[last])) for first, last in spans]


def _choose_tracks(tracks: Tracks, first: int, needs: list[list[Range]]) -> list[int]:
    """Return for each need the next track from ``first`` on that covers it; empty if one is missing."""
    chosen: list[int] = []
    track = first
    for need in needs:
        while track < len(tracks.lines) and not tracks.covers(track, need):
            track += 1
        if track == len(tracks.lines):
            return []
        chosen.append(track)
        track += 1
    return chosen


def construct_embedding(graph: Interactions, solver: SolverGraph, free: NDArray[np.bool_]) -> Chains | None:
    """Return the smallest layered embedding that is found on the free qubits.

    Args:
        graph: the interactions of the model.
        solver: its working qubits and couplers.
        free: (size,) bool, qubits that may be used.

    Returns:
        Chains by unit, or None if the graph is not layered, or if the lattice has too few free tracks.
    """
    drafts = []
    for layout in _layouts(graph, solver, free):
        drafts += [draft for offset in layout.offsets() if (draft := layout.draft(*offset)) is not None]
    drafts.sort(key=_qubit_count)
    built = [_build(graph, solver, free, draft) for draft in drafts[:_BUILT]]
    return min((chains for chains in built if chains is not None), key=embedding_size, default=None)


def construct_copies(
    graph: Interactions, solver: SolverGraph, free: NDArray[np.bool_], most: int
) -> list[Chains]:
    """Return at most ``most`` disjoint layered embeddings of ``graph``, one above the other.

    Of both directions of the columns, that which holds more copies on the ``free`` qubits (size,) of
    ``solver`` is taken. The list is empty if the graph is not layered.
    """
    best: list[Chains] = []
    for direction in range(len(_layouts(graph, solver, free))):
        copies = _construct_along(graph, solver, free.copy(), most, direction)
        best = max(best, copies, key=len)
    return best


def _construct_along(
    graph: Interactions, solver: SolverGraph, free: NDArray[np.bool_], most: int, direction: int
) -> list[Chains]:
    copies: list[Chains] = []
    top = 0
    while len(copies) < most:
        layout = _layouts(graph, solver, free)[direction]
        draft, top = _lowest_draft(layout, top)
        chains = None if draft is None else _build(graph, solver, free, draft)
        if chains is None:
            break
        copies.append(chains)
        free[qubits_of(chains)] = False
    return copies


def _lowest_draft(layout: LineLayout, top: int) -> tuple[Draft | None, int]:
    """Return the smallest draft of the first rows from ``top`` on that hold any, and the first such row."""
    drafts: list[Draft] = []
    first = len(layout.row_tracks.lines)
    for row in range(top, first):
        if row > first + _DEPTH * _STEP:
            break
        fits = [layout.draft(left, row) for left in range(0, layout.column_tracks.period, _STEP)]
        if any(fits) and not drafts:
            first = row
        drafts += [draft for draft in fits if draft]
    return min(drafts, key=_qubit_count, default=None), first


def _layouts(graph: Interactions, solver: SolverGraph, free: NDArray[np.bool_]) -> list[LineLayout]:
    """Return the layouts with vertical and with horizontal columns; none if the graph is not layered."""
    layers = as_layered(graph)
    if layers is None:
        return []
    vertical, horizontal = (tracks_of(lattice_of(solver), free, u) for u in (0, 1))
    return [LineLayout(layers, vertical, horizontal), LineLayout(layers, horizontal, vertical)]


def _qubit_count(draft: Draft) -> int:
    return sum(map(len, draft.values()))


def _build(graph: Interactions, solver: SolverGraph, free: NDArray[np.bool_], draft: Draft) -> Chains | None:
    """Repair and trim a draft; return its chains, or None if an edge cannot get a coupler."""
    editor = ChainEditor(graph, solver, [draft[unit] for unit in range(graph.units)], free)
    if not editor.repair():
        return None
    editor.trim()
    return editor.to_chains()
