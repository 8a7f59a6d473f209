"""Figures of Q matrices from plain arrays."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from schema.network.units import LETTERS, unit_names
from schema.quantities import count_text, number_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Normalize
    from matplotlib.figure import Figure
from producer.figures.saving import DPI, save

FloatArray = NDArray[np.float64]

MAX_GRAPH_UNITS = 60  # more nodes and lines are not distinguishable

_COLOURS = "RdBu_r"  # red: costs energy, blue: gains it, white: 0
LAYERS = {  # by kind: name, letter of its units, colour
    "visible": ("visible", LETTERS["visible"], "#1b9e77"),
    "pool": ("pooling", LETTERS["pool"], "#e6a817"),
    "conv": ("hidden (conv)", LETTERS["conv"], "#7b5ea7"),
    "dense": ("hidden (dense)", LETTERS["dense"], "#c2649a"),
    "classes": ("class", LETTERS["classes"], "#404040"),
}
# If the largest entries of blocks differ by a larger factor, the scale is linear only near 0.
_WIDE_RANGE = 12.0
_WIDEST_RANGE = 10_000.0
_MAX_LABEL = 12
_FITS_NODE = 4  # letters
_FITS_TITLES = 5  # layers next to each other whose names do not touch
_PAPER = {"facecolor": "white", "alpha": 0.8, "lw": 0, "pad": 0.5}


def draw_q(
    path: Path,
    q_matrix: FloatArray,
    sizes: Sequence[int],
    kinds: Sequence[str],
    classes: Sequence[str],
    title: str,
    sources: Sequence[tuple[str, int]] = (),
) -> None:
    """Write `q_figure` of ``q_matrix``, ``sizes``, ``kinds``, ``classes`` and the rest to ``path``.

    Raises:
        ParameterError, StorageError: as `saving.save`.
    """
    save(path, lambda: q_figure(q_matrix, sizes, kinds, classes, title, sources))


def q_figure(
    q_matrix: FloatArray,
    sizes: Sequence[int],
    kinds: Sequence[str],
    classes: Sequence[str],
    title: str,
    sources: Sequence[tuple[str, int]] = (),
) -> Figure:
    """Return a picture of Q with its layers marked; up to `MAX_GRAPH_UNITS` units also as a layered graph.

    After Figure 1 of Higham and Bedford: (a) the structure of x^T Q x, (b) the matrix Q.

    Args:
        q_matrix: (n, n) float64, upper triangular.
        sizes: units of each layer, in Q's order, classes last.
        kinds: kind of each layer, a key of `LAYERS`.
        classes: names of the class units.
        title: title of the figure.
        sources: names and units of the blocks of visible units; empty: they are of one kind.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    has_graph = len(q_matrix) <= MAX_GRAPH_UNITS
    norm = _norm(q_matrix, sizes)
    layout = ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.1)
    with rc_context({"font.size": 9}):
        figure = Figure(figsize=(14.5, 7) if has_graph else (9, 8), dpi=DPI, layout=layout)
        figure.suptitle(title, fontsize=12, parse_math=False)
        axes = figure.subplots(1, 2 if has_graph else 1, squeeze=False)[0]
        if has_graph:
            _draw_graph(axes[0], q_matrix, sizes, kinds, classes, norm)
            axes[0].set_title("(a) structure of $x^T Q\\,x$: a node's fill is its bias")
        _draw_matrix(axes[-1], q_matrix, sizes, kinds, norm)
        _mark_layers(axes[-1], _marks(sizes, kinds, sources))
        axes[-1].set_title(f"{'(b) ' if has_graph else ''}the matrix $Q$", pad=10)
        _add_colour_bar(figure, axes[-1], norm)
    return figure


def _norm(q_matrix: FloatArray, sizes: Sequence[int]) -> Normalize:
    """Return a scale that is symmetrical about 0, so that 0 is white; linear unless a block is too faint."""
    from matplotlib.colors import AsinhNorm, Normalize

    largest = _block_maxima(q_matrix, sizes)
    most = float(largest.max(initial=0.0)) or 1.0
    least = float(largest[largest > 0].min(initial=most))
    if most / least > _WIDE_RANGE:
        width = max(least / 2, most / _WIDEST_RANGE)
        return AsinhNorm(linear_width=width, vmin=-most, vmax=most)
    return Normalize(-most, most)


def _block_maxima(q_matrix: FloatArray, sizes: Sequence[int]) -> FloatArray:
    starts = np.cumsum((0, *sizes))[:-1]
    rows = np.maximum.reduceat(np.abs(q_matrix), starts, axis=0)
    return np.maximum.reduceat(rows, starts, axis=1)


def _spans(sizes: Sequence[int]) -> list[tuple[int, int]]:
    return list(pairwise(np.cumsum((0, *sizes)).tolist()))


def _draw_matrix(
    axes: Axes, q_matrix: FloatArray, sizes: Sequence[int], kinds: Sequence[str], norm: Normalize
) -> None:
    from matplotlib.patches import Patch

    units = len(q_matrix)
    below = np.tri(units, k=-1, dtype=np.bool_)
    axes.imshow(np.ma.array(q_matrix, mask=below), cmap=_COLOURS, norm=norm, interpolation="nearest")
    axes.set_xlim(-0.5, units - 0.5)
    axes.set_ylim(units - 0.5, -0.5)
    for start, stop in _spans(sizes):
        axes.plot((stop - 0.5, stop - 0.5), (-0.5, stop - 0.5), color="0.6", lw=0.6)
        axes.plot((start - 0.5, units - 0.5), (start - 0.5, start - 0.5), color="0.6", lw=0.6)
    handles = [
        Patch(color=LAYERS[kind][2], label=f"{size} {LAYERS[kind][0]}")
        for size, kind in zip(sizes, kinds, strict=True)
    ]
    couplers = int(np.count_nonzero(np.triu(q_matrix, k=1)))
    handles.append(
        Patch(
            alpha=0,
            label=f"{count_text(couplers, 'coupler')}, {couplers / max(1, _pairs(units)):.1%} of pairs",
        )
    )
    axes.legend(handles=handles, loc="lower left", frameon=False, title="units", alignment="left")


def _pairs(units: int) -> int:
    return units * (units - 1) // 2


def _marks(
    sizes: Sequence[int], kinds: Sequence[str], sources: Sequence[tuple[str, int]]
) -> list[tuple[int, int, str, str]]:
    """Return first unit, end, kind and label of each layer, and of each source in place of visible units."""
    layers = zip(_spans(sizes), kinds, _unit_ranges(sizes, kinds), strict=True)
    marks = [(start, stop, kind, label) for (start, stop), kind, label in layers]
    if not sources:
        return marks
    spans = zip(_spans([size for _, size in sources]), sources, strict=True)
    return [*((start, stop, kinds[0], _short(name)) for (start, stop), (name, _) in spans), *marks[1:]]


def _mark_layers(axes: Axes, marks: Sequence[tuple[int, int, str, str]]) -> None:
    """Draw a coloured strip for each of ``marks`` along the top and the left, with its label."""
    from matplotlib.patches import Rectangle

    strips: dict[str, Any] = {"edgecolor": "white", "lw": 1.0, "clip_on": False}
    for start, stop, kind, _ in marks:
        for place, transform in (
            (((start - 0.5, 1.005), stop - start, 0.018), axes.get_xaxis_transform()),
            (((-0.023, start - 0.5), 0.018, stop - start), axes.get_yaxis_transform()),
        ):
            axes.add_patch(Rectangle(*place, transform=transform, facecolor=LAYERS[kind][2], **strips))
    centres = [(start + stop - 1) / 2 for start, stop, _, _ in marks]
    labels = [label for *_, label in marks]
    is_tight = min(np.diff(centres), default=np.inf) < 0.1 * marks[-1][1]
    axes.xaxis.tick_top()
    axes.set_xticks(centres, labels, rotation=90 if is_tight else 0)
    axes.set_yticks(centres, labels)
    axes.tick_params(length=0, pad=15)
    axes.spines[:].set_visible(False)


def _unit_ranges(sizes: Sequence[int], kinds: Sequence[str]) -> list[str]:
    names = unit_names(sizes, kinds)
    return [
        names[start] if stop - start == 1 else f"{names[start]}–{names[stop - 1]}"
        for start, stop in _spans(sizes)
    ]


def _draw_graph(
    axes: Axes,
    q_matrix: FloatArray,
    sizes: Sequence[int],
    kinds: Sequence[str],
    classes: Sequence[str],
    norm: Normalize,
) -> None:
    """Draw layers from left to right; lines are couplers, the strongest on top."""
    from matplotlib.collections import LineCollection

    places = _places(sizes)
    starts, ends = np.nonzero(np.triu(q_matrix, k=1))
    values = q_matrix[starts, ends]
    order = np.argsort(np.abs(norm(values) - 0.5))
    lines = _curves(places[starts[order]], places[ends[order]])
    widths = 0.3 + 1.5 * np.abs(2 * norm(values[order]) - 1)
    coupled = LineCollection(list(lines), cmap=_COLOURS, norm=norm, linewidths=widths, zorder=1)
    coupled.set_array(values[order])
    axes.add_collection(coupled)
    _draw_nodes(axes, q_matrix.diagonal(), places, sizes, kinds, norm)
    _name_nodes(axes, norm(q_matrix.diagonal()), places, sizes, kinds, classes)
    for column, (size, kind) in enumerate(zip(sizes, kinds, strict=True)):
        name, _, colour = LAYERS[kind]
        text = f"{size} {name}" if len(sizes) <= _FITS_TITLES else str(size)
        axes.text(column, 1.02, text, color=colour, ha="center", weight="bold")
    axes.set_xlim(-0.2, len(sizes) - 0.65)
    axes.set_ylim(-0.02, 1.06)
    axes.axis("off")


def _places(sizes: Sequence[int]) -> FloatArray:
    """Return (n, 2): x is the layer's number, y decreases from 1 to 0 within each layer."""
    columns = np.repeat(np.arange(len(sizes)), sizes)
    heights = [1.0 - (np.arange(size) + 0.5) / size for size in sizes]
    return np.column_stack([columns, np.concatenate(heights)])


def _curves(starts: FloatArray, ends: FloatArray) -> FloatArray:
    """Return quadratic Bezier curves (m, points, 2): straight between layers, bent within one."""
    t = np.linspace(0.0, 1.0, 24)[np.newaxis, :, np.newaxis]
    bend = np.where(starts[:, 0] == ends[:, 0], 0.12 + 0.5 * np.abs(starts[:, 1] - ends[:, 1]), 0.0)
    middles = (starts + ends) / 2 + np.column_stack([bend, np.zeros(len(bend))])
    first, control, last = (points[:, np.newaxis] for points in (starts, middles, ends))
    curves: FloatArray = (1 - t) ** 2 * first + 2 * t * (1 - t) * control + t**2 * last
    return curves


def _draw_nodes(
    axes: Axes,
    biases: FloatArray,
    places: FloatArray,
    sizes: Sequence[int],
    kinds: Sequence[str],
    norm: Normalize,
) -> None:
    area = np.repeat([(2 * _radius(size)) ** 2 for size in sizes], sizes)
    edges = [LAYERS[kind][2] for size, kind in zip(sizes, kinds, strict=True) for _ in range(size)]
    x, y = places.T
    axes.scatter(x, y, s=area, c=biases, cmap=_COLOURS, norm=norm, edgecolors=edges, linewidths=1.8, zorder=2)


def _radius(size: int) -> float:
    """Return the radius of a layer's nodes in points, small enough for ``size`` nodes not to touch."""
    return 32.4 / math.sqrt(max(12, size))


def _name_nodes(
    axes: Axes,
    shades: FloatArray,
    places: FloatArray,
    sizes: Sequence[int],
    kinds: Sequence[str],
    classes: Sequence[str],
) -> None:
    """Write names of visible units to their left, others inside the node, or long ones to its right."""
    names = [*unit_names(sizes[:-1], kinds[:-1]), *(_short(name) for name in classes)]
    for index, ((x, y), name, shade) in enumerate(zip(places, names, shades, strict=True)):
        is_dark = abs(shade - 0.5) > 0.3
        style: dict[str, Any] = {"va": "center", "fontsize": 6.5, "parse_math": False, "zorder": 3}
        outside: dict[str, Any] = {"textcoords": "offset points", "bbox": _PAPER}
        if index < sizes[0]:
            axes.annotate(name, (x, y), (-_radius(sizes[0]) - 3, 0), ha="right", **style, **outside)
        elif len(name) <= _FITS_NODE:
            axes.text(x, y, name, ha="center", color="white" if is_dark else "black", **style)
        else:
            axes.annotate(name, (x, y), (_radius(sizes[-1]) + 3, 0), ha="left", **style, **outside)


def _short(name: str) -> str:
    return name if len(name) <= _MAX_LABEL else f"{name[: _MAX_LABEL - 1]}…"


def _add_colour_bar(figure: Figure, axes: Axes, norm: Normalize) -> None:
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import AsinhNorm

    bar = figure.colorbar(ScalarMappable(norm, _COLOURS), ax=axes, shrink=0.85, pad=0.02)
    scale = ""
    if isinstance(norm, AsinhNorm):
        ticks = _decades(norm.linear_width, float(norm.vmax or 1.0))
        bar.set_ticks(ticks, labels=[number_text(tick).replace("-", "\N{MINUS SIGN}") for tick in ticks])
        bar.minorticks_off()
        scale = ", asinh scale"
    bar.set_label(f"entry of $Q${scale} (below 0: lowers the energy)")


def _decades(least: float, most: float) -> list[float]:
    """Return -most, ..., -0.1, 0, 0.1, ..., most: powers of ten between ``least`` and ``most``."""
    powers = 10.0 ** np.arange(np.ceil(np.log10(2 * least)), np.log10(most / 1.5))
    positive = [*powers.tolist(), most]
    return [*(-tick for tick in reversed(positive)), 0.0, *positive]
