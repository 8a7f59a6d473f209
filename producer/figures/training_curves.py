"""Draws the loss and the accuracy of a training by epochs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from producer.figures import saving

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_SIZE = (9.0, 3.8)  # inches
_TRAINING, _HELD_OUT, _MARK = "#1f4e9c", "#d1660a", "#8a8f98"


def draw(path: Path, epochs: Sequence[Mapping[str, Any]], title: str, best_epoch: int | None) -> None:
    """Write the curves of ``epochs`` to ``path``, with ``title``.

    Args:
        epochs: rows, as `producer.exports.epochs.epoch_rows` returns them.
        best_epoch: whose weights were taken, counted from 1; None: not known yet.

    Raises:
        ParameterError, StorageError: as `saving.save`.
    """
    saving.save(path, lambda: curves_figure(epochs, title, best_epoch))


def curves_png(epochs: Sequence[Mapping[str, Any]], title: str, best_epoch: int | None) -> bytes:
    """Return the figure that `draw` writes, of the same arguments, as a PNG file."""
    buffer = BytesIO()
    curves_figure(epochs, title, best_epoch).savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def curves_figure(epochs: Sequence[Mapping[str, Any]], title: str, best_epoch: int | None) -> Figure:
    """Return the figure that `draw` writes, of the same arguments."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=_SIZE, dpi=saving.DPI, layout="constrained")
    losses, accuracies = figure.subplots(1, 2)
    figure.suptitle(title, fontsize=11, parse_math=False)
    _plot(losses, epochs, "loss", "loss", _TRAINING, "of training")
    _plot(losses, epochs, "validation_loss", "loss", _HELD_OUT, "of held-out images")
    _plot(accuracies, epochs, "train_accuracy", "accuracy", _TRAINING, "of training")
    _plot(accuracies, epochs, "validation_accuracy", "accuracy", _HELD_OUT, "of held-out images")
    again = next((row["step"] for row in epochs if row["phase"] == "refit"), None)
    for axes in (losses, accuracies):
        if best_epoch is not None:
            axes.axvline(best_epoch, color=_MARK, ls="--", lw=1, label=f"best epoch, {best_epoch}")
        if again is not None:
            axes.axvline(again - 0.5, color=_MARK, ls=":", lw=1, label="from here on all images")
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.legend(frameon=False, fontsize=8)
        axes.spines[["top", "right"]].set_visible(False)
    return figure


def _plot(
    axes: Axes, epochs: Sequence[Mapping[str, Any]], column: str, name: str, colour: str, label: str
) -> None:
    """Plot ``column`` of the rows that have it; a phase continues no line of the one before."""
    axes.set_ylabel(name)
    for phase in ("training", "refit"):
        points = [(row["step"], row[column]) for row in epochs if row["phase"] == phase]
        known = [(step, value) for step, value in points if value is not None]
        if known:
            marker = "o" if len(known) == 1 else None
            axes.plot(*zip(*known, strict=True), color=colour, marker=marker, label=label)
            label = "_"  # one entry of the legend for both phases
