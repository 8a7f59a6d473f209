"""What a layered network looks like to an embedding: which units run along which lines, and what they cross.

Read off a graph's sizes and edges alone: pixels (which may be folded away), a layer of units with windows on
them or on nothing, a dense hidden layer, class units.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from worker.embedding.model.graphs import Interactions

IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class Segment:
    """A unit that runs along a part of a line and crosses columns ``first`` to ``last``."""

    unit: int
    first: int
    last: int


@dataclass(frozen=True)
class LayeredNetwork:
    """Columns (vertical lines, in order) and rows (horizontal ones) of a layered network.

    columns: the unit of each column; class units come last. rows: the stretches that share each row, left to
    right; hidden units, in the middle, cross all columns, and each class unit has a stretch across all class
    units. spans: of each column, the first and the last row that it crosses.
    """

    columns: tuple[int, ...]
    rows: tuple[tuple[Segment, ...], ...]
    spans: tuple[tuple[int, int], ...]


def as_layered(graph: Interactions) -> LayeredNetwork | None:
    """The layers of a graph, or None where it is of another kind."""
    sizes = graph.sizes
    if len(sizes) not in (3, 4) or sizes[-2] < 2:
        return None
    starts = np.concatenate(([0], np.cumsum(sizes)))
    exists = np.zeros((graph.units, graph.units), dtype=np.bool_)
    exists[graph.edges[:, 0], graph.edges[:, 1]] = True
    blocks = [slice(start, stop) for start, stop in pairwise(starts.tolist())]
    dense = exists[blocks[-3], blocks[-2]].all() and exists[blocks[-2], blocks[-1]].all()
    within = sum(int(exists[block, block].sum()) for block in blocks[:-1])
    between = sum(int(exists[one, other].sum()) for one, other in pairwise(blocks))
    classes = int(exists[blocks[-1], blocks[-1]].sum())
    if not dense or within or between + classes != len(graph.edges):
        return None
    if len(sizes) == 3:
        order, tracks = np.arange(sizes[0]), list[list[Segment]]()
    else:
        windows = exists[blocks[0], blocks[1]]
        found = _tracks(windows)
        if found is None:
            return None
        order, tracks = found
    return _lay_out(order + starts[-4], tracks, tuple(range(starts[-3], starts[-2])), graph)


def _tracks(windows: NDArray[np.bool_]) -> tuple[IntArray, list[list[Segment]]] | None:
    """Order of the columns, and pixels by row; windows: (pixels, units) bool, a convolution of one channel.

    Units with the same window stand side by side, windows in the order of their first pixels. Pixels of one
    image column share as many rows as a window is high: their windows do not overlap.
    """
    if not windows.any(axis=0).all() or not windows.any(axis=1).all():
        return None
    pixels, kernel, width = len(windows), 1, 1
    first = np.flatnonzero(windows[:, 0])
    breaks = np.flatnonzero(np.diff(first) > 1)
    if len(breaks):
        kernel = int(breaks[0]) + 1
        width = int(first[kernel] - first[0])
    height = len(first) // kernel
    corner = windows.argmax(axis=0)
    grid = (np.arange(height)[:, np.newaxis] * width + np.arange(kernel)).ravel()
    inside = corner[:, np.newaxis] + grid
    if len(grid) != len(first) or inside.max() >= pixels or height < 2:
        return None
    if (
        not (windows.sum(axis=0) == len(grid)).all()
        or not windows.T[np.arange(len(corner))[:, None], inside].all()
    ):
        return None
    order = np.argsort(corner, kind="stable")
    sorted_windows = windows[:, order]
    rows: dict[tuple[int, int], list[Segment]] = {}
    for pixel in range(pixels):
        seen = np.flatnonzero(sorted_windows[pixel])
        key = (pixel % width, pixel // width % height)
        rows.setdefault(key, []).append(Segment(pixel, int(seen[0]), int(seen[-1])))
    return order, [rows[key] for key in sorted(rows)]


def _lay_out(
    columns: IntArray, tracks: list[list[Segment]], hidden: tuple[int, ...], graph: Interactions
) -> LayeredNetwork:
    classes = range(graph.units - graph.sizes[-1], graph.units)
    width, middle = len(columns), len(tracks) // 2
    all_columns = [*columns.tolist(), *classes]
    below, above = tracks[:middle], tracks[middle:]
    above += [[] for _ in range(len(classes) - len(above))]
    for row, unit in zip(above, classes, strict=False):
        row.append(Segment(unit, width, width + len(classes) - 1))
    across = [[Segment(unit, 0, len(all_columns) - 1)] for unit in hidden]
    rows = [*below, *across, *above]
    row_of = {stretch.unit: number for number, row in enumerate(rows) for stretch in row}
    crossed: dict[int, set[int]] = {unit: set() for unit in all_columns}
    for one, other in graph.edges.tolist():
        for unit, partner in ((one, other), (other, one)):
            if unit in crossed and partner in row_of:
                crossed[unit].add(row_of[partner])
    for unit in classes:
        crossed[unit].add(row_of[unit])
    spans = tuple((min(crossed[unit]), max(crossed[unit])) for unit in all_columns)
    return LayeredNetwork(tuple(all_columns), tuple(tuple(row) for row in rows), spans)
