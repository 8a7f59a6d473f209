"""Tables whose cells are coloured by their value: predicted against true classes, and mean scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from producer.runs.summary import MAX_CLASSES, ConfusionTable, scored_classes


@dataclass(frozen=True)
class Cell:
    """A number in a coloured table. ``shade`` is 0 to 70 percent of the colour."""

    text: str
    shade: int
    right: bool


@dataclass(frozen=True)
class CellRow:
    """The cells of a true class, ``label``."""

    label: int
    name: str
    cells: tuple[Cell, ...]
    share: str = ""


@dataclass(frozen=True)
class CellTable:
    """Rows of true classes; ``columns`` are the names of predicted classes."""

    columns: tuple[str, ...]
    rows: tuple[CellRow, ...]


def confusion(table: ConfusionTable | None) -> CellTable | None:
    """Return ``table`` with colours."""
    if table is None:
        return None
    rows = []
    for row in table.rows:
        cells = tuple(
            Cell(f"{count:,}" if count else "", 10 + _shade(count / sum(row.counts)), k == row.label)
            for k, count in enumerate(row.counts)
        )
        rows.append(CellRow(row.label, row.name, cells, f"{row.share:.1%}"))
    return CellTable(table.columns, tuple(rows))


def mean_scores(means: NDArray[np.float64] | None, names: Sequence[str]) -> CellTable | None:
    """Return (K, K) ``means`` in 0..100 by true class, with colours and ``names``; None for many classes."""
    if means is None or len(names) > MAX_CLASSES:
        return None
    rows = tuple(
        CellRow(
            label,
            names[label],
            tuple(Cell(f"{mean:.0f}", _shade(mean / 100.0), k == label) for k, mean in enumerate(row)),
        )
        for label, row in scored_classes(means)
    )
    return CellTable(tuple(names), rows)


def _shade(share: float) -> int:
    return round(60.0 * float(np.sqrt(share)))
