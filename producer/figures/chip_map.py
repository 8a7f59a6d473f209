"""Figures of what reads say about the qubits of a chip: field errors, and broken chains."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from producer.figures import chip_layout, saving
from schema.quantities import count_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from producer.embeddings.chip_map import ChipMap
    from producer.embeddings.chips import ChipGraph

_DPI = 150
_SIDE = 8.0  # inches of each of the two pictures
_FAINT, _DEAD = "#d9dde3", "#d62728"
_SHOWN = 98.0  # percentile of the size of field errors at which colours end
_MOST_BROKEN = 4.0  # times the mean at which colours end


def draw(path: Path, chip: ChipGraph, found: ChipMap) -> None:
    """Write a picture of ``found`` on ``chip`` to ``path``.

    Raises:
        ParameterError, StorageError: as `saving.save` says.
        Corrupt: the chip has an unknown topology.
    """
    saving.save(path, lambda: chip_map_figure(chip, found))


def chip_map_figure(chip: ChipGraph, found: ChipMap) -> Figure:
    """Return the field errors (left) and the broken chains (right) of ``found`` on ``chip``, in colours."""
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    layout = ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.1)
    figure = Figure(figsize=(2 * _SIDE, _SIDE + 0.6), dpi=_DPI, layout=layout)
    left, right = figure.subplots(1, 2)
    figure.suptitle(
        f"{chip.name}, graph {chip.graph_id}: {len(found.qubits):,} of "
        f"{count_text(len(chip.qubits), 'qubit')}, "
        f"{count_text(found.problems, 'problem')}",
        fontsize=12,
    )
    most = float(np.percentile(np.abs(found.field_errors), _SHOWN)) or 1.0
    fields = {"cmap": "coolwarm", "vmin": -most, "vmax": most}
    _panel(left, chip, found.qubits, found.field_errors, "field error of a qubit, units of h", fields)
    known = np.isfinite(found.broken)
    text = "broken chains, times the mean of the unit"
    broken = {"cmap": "viridis_r", "vmin": 0.0, "vmax": _MOST_BROKEN}
    _panel(right, chip, found.qubits[known], found.broken[known], text, broken)
    return figure


def _panel(
    axes: Axes,
    chip: ChipGraph,
    qubits: NDArray[np.int64],
    values: NDArray[np.float64],
    text: str,
    style: dict[str, Any],
) -> None:
    whole = chip_layout.lattice(chip.topology, chip.shape)
    size = int(max(whole.max(), chip.qubits.max())) + 1
    places = chip_layout.places(chip.topology, chip.shape, np.arange(size, dtype=np.int32))
    x, y = places[chip.qubits].T
    axes.scatter(x, y, s=3, c=_FAINT, linewidths=0)
    dead = np.setdiff1d(whole, chip.qubits)
    x, y = places[dead].T
    axes.scatter(x, y, s=10, c=_DEAD, marker="x", linewidths=0.8, label=f"dead qubit ({len(dead)})")
    order = np.argsort(np.abs(values))  # the largest are on top
    x, y = places[qubits[order]].T
    drawn = axes.scatter(x, y, s=11, c=values[order], linewidths=0, **style)
    axes.set_aspect("equal")
    axes.axis("off")
    bar = axes.figure.colorbar(drawn, ax=axes, location="bottom", shrink=0.6, aspect=40, extend="both")
    bar.set_label(text, fontsize=10)
    if len(dead):
        axes.legend(loc="upper right", frameon=False, fontsize=9)
