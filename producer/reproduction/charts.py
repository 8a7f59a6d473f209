"""Figures of experiments, from plain arrays, as PNG: tables of scores, accuracy curves, times.

matplotlib is imported when the first figure is drawn, and never opens a window.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from math import sqrt
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from producer.reproduction.scores import ScoreTable
from producer.figures.saving import require_matplotlib, save_png

_OURS, _OWN, _THEIRS = "#1f6fb4", "#555555", "#c4571b"
_SIDE = {5: 2.9, 10: 4.4}  # inches of a table by its classes


@dataclass(frozen=True)
class Curve:
    """Accuracies in [0, 1] at some places, of one or more runs each, over ``images`` images.

    ``own`` is the network's own accuracy, without an annealer, where it is known.
    """

    label: str
    places: tuple[float, ...]
    accuracies: tuple[tuple[float, ...], ...]
    own: float | None
    images: int

    @property
    def errors(self) -> tuple[float, ...]:
        """Return one standard error of each mean, as if the images were drawn at random."""
        return tuple(sqrt(mean * (1.0 - mean) / self.images) for mean in self.means)

    @property
    def means(self) -> tuple[float, ...]:
        """Return the mean accuracy at each place."""
        return tuple(sum(runs) / len(runs) for runs in self.accuracies)

    @property
    def limits(self) -> tuple[float, float]:
        """Return the limits of a percent axis, at least one point apart, so that noise looks like noise."""
        accuracies = [*chain(*self.accuracies), *([] if self.own is None else [self.own])]
        low, high = 100.0 * (min(accuracies) - max(self.errors)), 100.0 * (max(accuracies) + max(self.errors))
        margin = max(0.08 * (high - low), (1.0 - (high - low)) / 2.0)
        return low - margin, min(high + margin, 100.5)


@dataclass(frozen=True)
class Bar:
    """A time in microseconds; ``published`` ones are the paper's."""

    label: str
    microseconds: float
    published: bool = False


def draw_scores(titled: Sequence[tuple[str, ScoreTable]], path: Path) -> None:
    """Draw tables of class scores (``titled``: title and table) side by side into the file ``path``.

    Rows are true classes, columns predicted classes.
    """
    classes = titled[0][1].scores.shape[1]
    side = _SIDE.get(classes, 0.44 * classes)
    figure = _figure(side * len(titled) + 0.9, side + 0.8)
    axes = figure.subplots(1, len(titled), squeeze=False)[0]
    for place, (title, table) in zip(axes, titled, strict=True):
        shown = _draw_table(place, title, table)
    axes[0].set_ylabel("true class")
    figure.colorbar(shown, ax=list(axes), label="consensus class score", shrink=0.75, pad=0.02)
    save_png(figure, path)


def draw_accuracies(curves: Sequence[Curve], axis: str, path: Path) -> None:
    """Draw one panel for each of ``curves`` over ``axis`` into the file ``path``.

    Each panel has its own scale, since the two transfers lie far apart.
    """
    figure = _figure(4.6 * len(curves), 3.5)
    for place, curve in zip(figure.subplots(1, len(curves), squeeze=False)[0], curves, strict=True):
        percent = [100.0 * mean for mean in curve.means]
        if min(curve.places) > 0:
            place.set_xscale("log")
            place.set_xticks(curve.places, [f"{x:g}" for x in curve.places], minor=False)
            place.set_xticks([], minor=True)
        else:
            place.set_xticks(curve.places)
        bars = [100.0 * error for error in curve.errors]
        place.errorbar(
            curve.places, percent, bars, fmt="o-", color=_OURS, capsize=3, label="sampled, 1 standard error"
        )
        if any(len(runs) > 1 for runs in curve.accuracies):
            dots = [
                (x, 100.0 * run)
                for x, runs in zip(curve.places, curve.accuracies, strict=True)
                for run in runs
            ]
            place.scatter(*zip(*dots, strict=True), s=14, color=_THEIRS, zorder=3, label="single draws")
        if curve.own is not None:
            place.axhline(100.0 * curve.own, color=_OWN, ls="--", lw=1, label="network without annealer")
        place.set_ylim(*curve.limits)
        place.ticklabel_format(axis="y", useOffset=False)
        place.set(title=curve.label, xlabel=axis, ylabel="images right, %")
        place.grid(alpha=0.3)
        place.legend(loc="best", fontsize=8)
    save_png(figure, path)


def draw_times(bars: Sequence[Bar], path: Path) -> None:
    """Draw ``bars`` of microseconds for one image into the file ``path``, on a logarithmic scale."""
    figure = _figure(7.5, 0.8 + 0.34 * len(bars))
    place = figure.subplots()
    colours = [_THEIRS if bar.published else _OURS for bar in bars]
    times = [bar.microseconds for bar in bars]
    drawn = place.barh([bar.label for bar in bars], times, color=colours)
    place.bar_label(drawn, [f"{time:,.0f}" for time in times], padding=3, fontsize=8)
    place.invert_yaxis()
    place.set_xscale("log")
    place.set_xlim(min(times) / 2.0, max(times) * 3.0)
    place.set_xlabel("microseconds for one image (the paper's in orange)")
    place.grid(axis="x", alpha=0.3)
    place.set_axisbelow(True)
    save_png(figure, path)


def _draw_table(place: Axes, title: str, table: ScoreTable) -> Any:
    rows, classes = table.scores.shape
    shown = place.imshow(table.scores, cmap="Blues", vmin=0.0, vmax=100.0)
    for row, label in enumerate(table.labels.tolist()):
        for k, value in enumerate(table.scores[row].tolist()):
            colour = "white" if value > 55.0 else "#bbbbbb" if value < 0.5 else "black"
            place.text(k, row, f"{value:.0f}", ha="center", va="center", fontsize=8, color=colour)
        _outline(place, label, row)
    place.set_title(title, fontsize=9)
    place.set_xticks(range(classes))
    place.set_yticks(range(rows), [str(label) for label in table.labels.tolist()])
    place.set_xlabel("class unit")
    place.tick_params(length=0)
    return shown


def _outline(place: Axes, column: int, row: int) -> None:
    """Mark the cell of the right class."""
    from matplotlib.patches import Rectangle

    box = Rectangle((column - 0.47, row - 0.47), 0.94, 0.94, fill=False, ec=_THEIRS, lw=1.4)
    place.add_patch(box)


def _figure(width: float, height: float) -> Figure:
    require_matplotlib()
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")
