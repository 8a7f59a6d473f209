"""Figures of embeddings: the chains of all tiles on the chip, or one tile enlarged."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from producer.figures import chip_layout, q_matrix, saving
from schema.errors import Corrupt, ParameterError
from schema.network.units import unit_names
from schema.quantities import count_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from producer.embeddings.chips import ChipGraph
    from producer.embeddings.queries import UnitLayers
    from schema.codecs.tiling import Tiling

FloatArray = NDArray[np.float64]

_DPI = 150
_SIDE = 12.0  # inches of a whole chip
_FAINT, _DEAD = "#c9ced6", "#d62728"
# Consecutive tiles get very different hues: multiples of the golden ratio.
_GOLDEN = 0.618033988749895
_MARGIN = 6.0  # around a single tile, in units of the layout
_TILE_SIDE = 9.0  # inches of the longer side of a tile
_LEAST_SIDE = 0.6  # of the longer one
_LETTER = 0.088  # inches of a letter of the title, on average
_ENTRY = 1.8  # inches of an entry of the legend
_MOST_NAMES = 80  # units of a tile whose names are legible


def draw(
    path: Path,
    chip: ChipGraph,
    tiling: Tiling,
    title: str,
    layers: UnitLayers | None,
    tile: int | None = None,
) -> None:
    """Write a picture of ``tiling`` on ``chip`` to ``path``: all tiles, or only ``tile``, enlarged.

    ``layers`` of the tiling's units, if known, distinguish class units from others. ``title`` is printed.

    Raises:
        ParameterError: no such tile, or as `saving.save`.
        StorageError: no space is left.
        Corrupt: the tiling is not on this chip.
    """
    if tile is not None and not 0 <= tile < tiling.tiles:
        raise ParameterError(f"tile {tile} does not exist: choose 0 to {tiling.tiles - 1}")
    _check_qubits(chip, tiling)
    if tile is None:
        saving.save(path, lambda: chip_figure(chip, tiling, title, layers))
    else:
        saving.save(path, lambda: tile_figure(chip, tiling, tile, title, layers))


def chip_figure(chip: ChipGraph, tiling: Tiling, title: str, layers: UnitLayers | None) -> Figure:
    """Return a picture of ``chip`` with the chains of each tile of ``tiling`` in a colour of their own.

    Working qubits are faint points, dead ones crosses. If ``layers`` are known, qubits of class units have
    dark points. ``title`` is printed.
    """
    figure, axes, places = _chip(chip)
    _title(figure, axes, title, _SIDE)
    owner = _owners(chip, tiling)
    tiles = owner // tiling.units
    starts, ends = _within_chains(chip, owner)
    colours = tile_colours(tiling.tiles)
    _lines(axes, places, starts, ends, colours[tiles[starts]], 1.1, 2)
    used = np.flatnonzero(owner >= 0)
    _points(axes, places[used], s=9, c=colours[tiles[used]], zorder=3)
    classes = _class_units(layers, tiling.units)
    marked = used[np.isin(owner[used] % tiling.units, classes)]
    if len(classes):
        _points(axes, places[marked], s=3.0, c="#101010", zorder=4, label="of class units")
    copies = "copy" if tiling.tiles == 1 else "copies"
    label = f"chains: a colour for each of {tiling.tiles} {copies}"
    axes.plot([], [], color=colours[0], marker="o", ms=3, label=label)
    _legend(axes)
    return figure


def tile_figure(chip: ChipGraph, tiling: Tiling, tile: int, title: str, layers: UnitLayers | None) -> Figure:
    """Return a picture of ``tile`` of ``tiling`` on ``chip``, with ``title``.

    Chains have the colours of their ``layers``, those of class units one each; faint lines are couplers
    between them.
    """
    figure, axes, places = _chip(chip, is_enlarged=True)
    owner = _owners(chip, tiling)
    others = np.flatnonzero((owner >= 0) & (owner // tiling.units != tile))
    _points(axes, places[others], s=14, c="#9aa5b5", zorder=2, label="of other tiles")
    units = np.where(owner // tiling.units == tile, owner % tiling.units, -1)
    units[owner < 0] = -1
    low, high = units[chip.couplers].T
    between = (low >= 0) & (high >= 0) & (low != high)
    faint = np.broadcast_to(np.array([0.55, 0.6, 0.68, 0.35]), (int(between.sum()), 4))
    first, second = chip.couplers[between].T
    _lines(axes, places, first, second, faint, 0.5, 1)
    starts, ends = _within_chains(chip, units)
    colours = _unit_colours(layers, tiling.units)
    _lines(axes, places, starts, ends, colours[units[starts]], 3.0, 3)
    used = np.flatnonzero(units >= 0)
    _points(axes, places[used], s=46, c=colours[units[used]], zorder=4)
    _name_units(axes, places, units, used, layers, tiling.units)
    width = _zoom(figure, axes, places[used])
    _title(figure, axes, f"{title}, tile\N{NO-BREAK SPACE}{tile}", width)
    _legend_of_layers(axes, layers, colours, width)
    return figure


def tile_colours(tiles: int) -> FloatArray:
    """Return (k, 3) float64 in [0, 1] for k = ``tiles``: colours whose hues differ between neighbours."""
    from matplotlib.colors import hsv_to_rgb

    number = np.arange(tiles)
    hue = (number * _GOLDEN) % 1.0
    value = np.array([0.9, 0.7, 0.8])[number % 3]
    colours: FloatArray = hsv_to_rgb(np.stack([hue, np.full(tiles, 0.85), value], axis=1))
    return colours


def _chip(chip: ChipGraph, *, is_enlarged: bool = False) -> tuple[Figure, Axes, FloatArray]:
    """Return a figure with the chip's qubits, and the position of every qubit by its index."""
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    whole = chip_layout.lattice(chip.topology, chip.shape)
    size = int(max(whole.max(), chip.qubits.max())) + 1
    places = chip_layout.places(chip.topology, chip.shape, np.arange(size, dtype=np.int32))
    layout = ConstrainedLayoutEngine(w_pad=0.15, h_pad=0.15)
    figure = Figure(figsize=(_SIDE, _SIDE + 0.4), dpi=_DPI, layout=layout)
    axes = figure.subplots()
    dead = np.setdiff1d(whole, chip.qubits)
    grow = 6.0 if is_enlarged else 1.0
    _points(axes, places[chip.qubits], s=2.5 * grow, c=_FAINT, zorder=1, label="working qubit")
    marks: dict[str, Any] = {"marker": "x", "linewidths": 0.8, "zorder": 1}
    if len(dead):
        _points(axes, places[dead], s=9 * grow, c=_DEAD, label=f"dead qubit ({len(dead)})", **marks)
    axes.set_aspect("equal")
    axes.axis("off")
    return figure, axes, places


def _check_qubits(chip: ChipGraph, tiling: Tiling) -> None:
    missing = np.setdiff1d(tiling.qubits, chip.qubits)
    if len(missing):
        raise Corrupt(f"qubit {missing[0]} of the embedding is not on {chip.name}, graph {chip.graph_id}")


def _owners(chip: ChipGraph, tiling: Tiling) -> NDArray[np.int64]:
    """Return (size,) int64: ``tile * units + unit`` of each qubit by its index, -1 without a chain."""
    owner = np.full(int(chip.qubits.max()) + 1, -1, dtype=np.int64)
    owner[tiling.qubits] = np.repeat(np.arange(tiling.lengths.size), tiling.lengths.ravel())
    return owner


def _within_chains(chip: ChipGraph, owner: NDArray[np.int64]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Return the two ends of the couplers that join qubits of one chain."""
    low, high = chip.couplers.T
    inside = (owner[low] >= 0) & (owner[low] == owner[high])
    return low[inside], high[inside]


def _points(axes: Axes, places: FloatArray, **style: Any) -> None:
    x, y = places.T
    axes.scatter(x, y, **{"linewidths": 0, **style})


def _lines(
    axes: Axes,
    places: FloatArray,
    starts: NDArray[np.int32],
    ends: NDArray[np.int32],
    colours: NDArray[Any],
    width: float,
    order: int,
) -> None:
    from matplotlib.collections import LineCollection

    segments = np.stack([places[starts], places[ends]], axis=1)
    axes.add_collection(LineCollection(list(segments), colors=colours, linewidths=width, zorder=order))


def _class_units(layers: UnitLayers | None, units: int) -> NDArray[np.intp]:
    """Return the indices of the class units, which are last; none if there is one layer, or none known."""
    classes = 0 if layers is None or len(layers.sizes) == 1 else layers.sizes[-1]
    return np.arange(units - classes, units)


def _unit_colours(layers: UnitLayers | None, units: int) -> FloatArray:
    """Return (n, 3): the colour of each unit's layer as in figures of Q; class units have one each."""
    from matplotlib.colors import to_rgb

    if layers is None or len(layers.sizes) == 1:
        return tile_colours(units)
    names = [
        q_matrix.LAYERS[kind][2]
        for kind, size in zip(layers.kinds, layers.sizes, strict=True)
        for _ in range(size)
    ]
    colours = np.array([to_rgb(name) for name in names])
    classes = _class_units(layers, units)
    colours[classes] = tile_colours(len(classes))
    return colours


def _name_units(
    axes: Axes,
    places: FloatArray,
    units: NDArray[np.int64],
    used: NDArray[np.intp],
    layers: UnitLayers | None,
    count: int,
) -> None:
    """Write each unit's name next to the first qubit of its chain."""
    if layers is None or count > _MOST_NAMES:
        return
    names: Sequence[str] = unit_names(layers.sizes, layers.kinds)
    _, first = np.unique(units[used], return_index=True)
    style: dict[str, Any] = {"fontsize": 8, "textcoords": "offset points", "zorder": 5, "parse_math": False}
    style |= {"rotation": 60, "rotation_mode": "anchor"}  # neighbours' names would run into each other
    for qubit in used[first].tolist():
        axes.annotate(names[units[qubit]], places[qubit], (2, 5), **style)


def _zoom(figure: Figure, axes: Axes, around: FloatArray) -> float:
    """Show only the positions ``around``, and fit the figure to them; return its width in inches."""
    low, high = around.min(axis=0) - _MARGIN, around.max(axis=0) + _MARGIN
    sides = high - low
    sides = np.maximum(sides, sides.max() * _LEAST_SIDE)
    middle = (low + high) / 2
    axes.set_xlim(middle[0] - sides[0] / 2, middle[0] + sides[0] / 2)
    axes.set_ylim(middle[1] - sides[1] / 2, middle[1] + sides[1] / 2)
    width, height = (float(side) for side in _TILE_SIDE * sides / sides.max())
    figure.set_size_inches(width + 0.2, height + 0.8)
    return width


def _title(figure: Figure, axes: Axes, title: str, width: float) -> None:
    """Print ``title`` in as many lines as ``width`` in inches needs, and make room for them."""
    lines = textwrap.wrap(title, round(width / _LETTER))
    axes.set_title("\n".join(lines), fontsize=11, pad=12, parse_math=False)
    inches = figure.get_size_inches()
    figure.set_size_inches(inches[0], inches[1] + 0.2 * (len(lines) - 1))


def _legend_of_layers(axes: Axes, layers: UnitLayers | None, colours: FloatArray, width: float) -> None:
    if layers is not None and len(layers.sizes) > 1:
        last = len(layers.sizes) - 1
        for number, (kind, size) in enumerate(zip(layers.kinds, layers.sizes, strict=True)):
            name, _, colour = q_matrix.LAYERS[kind]
            each = ", a colour each" if number == last else ""
            shown = colours[-1] if number == last else colour
            axes.plot(
                [], [], color=shown, marker="o", lw=3, label=f"{count_text(size, f'{name} unit')}{each}"
            )
    _legend(axes, width)


def _legend(axes: Axes, width: float = _SIDE) -> None:
    columns = min(max(int(width / _ENTRY), 1), 5)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, 0.0), ncols=columns, frameon=False, fontsize=9)
