"""Reads the columns and rows of a layered network from its edges.

Layers are pixels (which may be folded into biases), units with windows on them, a dense hidden layer, class
units. Only sizes and edges are known here, not the architecture.
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
    """A unit on a part of a row; it crosses the columns ``first`` to ``last``."""

    unit: int
    first: int
    last: int


@dataclass(frozen=True)
class LayeredNetwork:
    """Columns and rows of a layered network, in order.

    Attributes:
        columns: the unit of each column; class units come last.
        rows: the segments that share each row, left to right. Hidden units, in the middle, cross all columns;
            each class unit has a segment across the columns of all class units.
        spans: the first and the last row that each column crosses.
    """

    columns: tuple[int, ...]
    rows: tuple[tuple[Segment, ...], ...]
    spans: tuple[tuple[int, int], ...]


def as_layered(graph: Interactions) -> LayeredNetwork | None:
    """Return the columns and rows of ``graph``, or None if it is not such a network.

    It has three layers (units, hidden, classes) or four (pixels, units, hidden, classes). The last three are
    joined completely, no layer but that of the classes has edges within, and the pixels are those of a
    convolution of one channel.
    """
    sizes = graph.sizes
    if len(sizes) not in (3, 4) or sizes[-2] < 2:
        return None
    starts = np.concatenate(([0], np.cumsum(sizes)))
    exists = np.zeros((graph.units, graph.units), dtype=np.bool_)
    exists[graph.edges[:, 0], graph.edges[:, 1]] = True
    blocks = [slice(start, stop) for start, stop in pairwise(starts.tolist())]
    dense = exists[blocks[-3], blocks[-2]].all() and exists[blocks[-2], blocks[-1]].all()
    within = sum(int(exists[block, block].sum()) for block in blocks[:-1])
    between = sum(int(exists[i, j].sum()) for i, j in pairwise(blocks))
    classes = int(exists[blocks[-1], blocks[-1]].sum())
    if not dense or within or between + classes != len(graph.edges):
        return None
    if len(sizes) == 3:
        order, tracks = np.arange(sizes[0]), list[list[Segment]]()
    else:
        convolution = _pixel_rows(exists[blocks[0], blocks[1]])
        if convolution is None:
            return None
        order, tracks = convolution
    return _arrange(order + starts[-4], tracks, tuple(range(starts[-3], starts[-2])), graph)


def _pixel_rows(windows: NDArray[np.bool_]) -> tuple[IntArray, list[list[Segment]]] | None:
    """Return the order of the columns, and the pixels of each row; None if this is not a convolution.

    Units with the same window are neighbours, windows in the order of their first pixels. Pixels of one image
    column share as many rows as a window is high: pixels that are that far apart have no window in common.

    Args:
        windows: (pixels, units) bool, edges between pixels and the units of a convolution of one channel.
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


def _arrange(
    columns: IntArray, tracks: list[list[Segment]], hidden: tuple[int, ...], graph: Interactions
) -> LayeredNetwork:
    """Put hidden units between two halves of the pixel rows, and class units on columns and rows."""
    classes = range(graph.units - graph.sizes[-1], graph.units)
    width, middle = len(columns), len(tracks) // 2
    all_columns = [*columns.tolist(), *classes]
    below, above = tracks[:middle], tracks[middle:]
    above += [[] for _ in range(len(classes) - len(above))]
    for row, unit in zip(above, classes, strict=False):
        row.append(Segment(unit, width, width + len(classes) - 1))
    across = [[Segment(unit, 0, len(all_columns) - 1)] for unit in hidden]
    rows = [*below, *across, *above]
    row_of = {segment.unit: number for number, row in enumerate(rows) for segment in row}
    crossed: dict[int, set[int]] = {unit: set() for unit in all_columns}
    for i, j in graph.edges.tolist():
        for unit, partner in ((i, j), (j, i)):
            if unit in crossed and partner in row_of:
                crossed[unit].add(row_of[partner])
    for unit in classes:
        crossed[unit].add(row_of[unit])
    spans = tuple((min(crossed[unit]), max(crossed[unit])) for unit in all_columns)
    return LayeredNetwork(tuple(all_columns), tuple(tuple(row) for row in rows), spans)
