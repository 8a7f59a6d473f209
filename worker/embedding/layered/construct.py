"""Layered networks, constructed: columns and rows of the network on tracks of the lattice that cross.

Units with windows run along vertical tracks in the order of their windows, pixels and hidden units along
horizontal ones, class units down one and along another, which couples each to all others. Tracks are chosen
around qubits that do not work; then ends that nothing needs are trimmed.
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
from worker.embedding.model import lattice

if TYPE_CHECKING:
    from worker.embedding.model.graphs import Interactions, SolverGraph

IntArray = NDArray[np.int64]
Draft = dict[int, list[int]]

_ROUNDS = 6  # columns and rows are chosen in turns, until both fit
_STEP = 2  # tracks between two offsets tried: lines come in fours, pieces begin in the middle of a four
_BUILT = 4  # of all offsets, so many are built and trimmed: those with the fewest qubits before
_DEPTH = 3  # copies are stacked: offsets tried from the first that fits, in steps


@dataclass(frozen=True, eq=False)
class LineLayout:
    """A network that is laid on a lattice's tracks; ``across`` runs over ``down``."""

    layers: LayeredNetwork
    down: Tracks
    across: Tracks

    def offsets(self) -> Iterator[tuple[int, int]]:
        """First column and row: all that differ by the lattice's period, at the sides and in the middle."""
        columns, rows = (
            sorted(
                {base + step for base in (0, room // 2, room - period) for step in range(0, period, _STEP)}
            )
            for room, period in (
                (len(self.down.lines) - len(self.layers.columns), self.down.period),
                (len(self.across.lines) - len(self.layers.rows), self.across.period),
            )
        )
        return product(columns, rows)

    def weave(self, left: int, top: int) -> Draft | None:
        """Chains by unit, on whole tracks from an offset on; None where they run out."""
        if left < 0 or top < 0 or top + len(self.layers.rows) > len(self.across.lines):
            return None
        rows = list(range(top, top + len(self.layers.rows)))
        columns: list[int] = []
        for _ in range(_ROUNDS):
            before = columns, rows
            uprights = _to_lines(self.layers.spans, self.across.lines[rows])
            columns = _first_fits(self.down, left, [[upright] for upright in uprights])
            if not columns:
                return None
            levels = self.down.lines[columns]
            needs = [_to_lines([(s.first, s.last) for s in row], levels) for row in self.layers.rows]
            rows = _first_fits(self.across, top, needs)
            if not rows:
                return None
            if (columns, rows) == before:
                return self._chains(columns, uprights, rows, needs)
        return None

    def _chains(
        self, columns: list[int], uprights: list[Range], rows: list[int], needs: list[list[Range]]
    ) -> Draft:
        chains: Draft = {unit: [] for unit in self.layers.columns}
        for unit, column, upright in zip(self.layers.columns, columns, uprights, strict=True):
            chains[unit] += self.down.pieces(column, *upright)
        for row, stretches, need in zip(rows, self.layers.rows, needs, strict=True):
            for stretch, level in zip(stretches, need, strict=True):
                chains.setdefault(stretch.unit, []).extend(self.across.pieces(row, *level))
        return chains


def _to_lines(spans: Sequence[tuple[int, int]], lines: IntArray) -> list[Range]:
    """Spans of numbers as spans of lattice lines."""
    return [(int(lines[first]), int(lines[last])) for first, last in spans]


def _first_fits(tracks: Tracks, first: int, needs: list[list[Range]]) -> list[int]:
    """For each need the next track on which its ranges are whole and apart; empty if they run out."""
    chosen: list[int] = []
    track = first
    for need in needs:
        while track < len(tracks.lines) and not tracks.holds(track, need):
            track += 1
        if track == len(tracks.lines):
            return []
        chosen.append(track)
        track += 1
    return chosen


def construct_embedding(graph: Interactions, solver: SolverGraph, free: NDArray[np.bool_]) -> Chains | None:
    """The shortest layered embedding on the free qubits (size,) bool, or None.

    None where the graph is not layered, or the lattice too small for it.
    """
    drafts = []
    for loom in _layouts(graph, solver, free):
        drafts += [draft for offset in loom.offsets() if (draft := loom.weave(*offset)) is not None]
    drafts.sort(key=_qubit_count)
    built = [_build(graph, solver, free, draft) for draft in drafts[:_BUILT]]
    return min((chains for chains in built if chains is not None), key=embedding_size, default=None)


def construct_copies(
    graph: Interactions, solver: SolverGraph, free: NDArray[np.bool_], most: int
) -> list[Chains]:
    """At most so many disjoint layered embeddings, one above the other; none where it is not layered."""
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
        loom = _layouts(graph, solver, free)[direction]
        draft, top = _lowest_draft(loom, top)
        chains = None if draft is None else _build(graph, solver, free, draft)
        if chains is None:
            break
        copies.append(chains)
        free[qubits_of(chains)] = False
    return copies


def _lowest_draft(loom: LineLayout, top: int) -> tuple[Draft | None, int]:
    """The lightest draft among the lowest that there are, and the row where these begin."""
    drafts: list[Draft] = []
    first = len(loom.across.lines)
    for row in range(top, first):
        if row > first + _DEPTH * _STEP:
            break
        fits = [loom.weave(left, row) for left in range(0, loom.down.period, _STEP)]
        if any(fits) and not drafts:
            first = row
        drafts += [draft for draft in fits if draft]
    return min(drafts, key=_qubit_count, default=None), first


def _layouts(graph: Interactions, solver: SolverGraph, free: NDArray[np.bool_]) -> list[LineLayout]:
    layers = as_layered(graph)
    if layers is None:
        return []
    place = lattice.lattice_of(solver)
    down, across = (tracks_of(place, free, u) for u in (0, 1))
    return [LineLayout(layers, down, across), LineLayout(layers, across, down)]


def _qubit_count(draft: Draft) -> int:
    return sum(map(len, draft.values()))


def _build(graph: Interactions, solver: SolverGraph, free: NDArray[np.bool_], draft: Draft) -> Chains | None:
    piece = ChainEditor(graph, solver, [draft[unit] for unit in range(graph.units)], free)
    if not piece.repair():
        return None
    piece.trim()
    return piece.to_chains()
