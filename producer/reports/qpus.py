"""The QPUs that a run may use, compared: as a table, and as plain objects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from producer.reports.terminal import new_table
from producer.runs.qpus import MeasuredAccuracy


def with_experience(
    compared: Sequence[Mapping[str, Any]],
    measured: Mapping[str, MeasuredAccuracy],
    budget_us: float | None,
) -> list[dict[str, Any]]:
    """Return the rows ``compared`` of a dry run with accuracies ``measured`` there and the run's budget.

    Args:
        measured: by working graph.
        budget_us: microseconds; None: no limit.
    """
    rows = []
    for row in compared:
        known = measured.get(row["graph_id"])
        rows.append(
            {
                **row,
                "accuracy": None if known is None else known.accuracy,
                "accuracy_of": None if known is None else known.basis,
                "fits_budget": None
                if budget_us is None or row["qpu_us"] is None
                else row["qpu_us"] <= budget_us,
            }
        )
    return rows


def comparison_table(rows: Sequence[Mapping[str, Any]], title: str) -> Table:
    """Return the table of `with_experience`, under ``title``; those that are chosen are marked."""
    numbers = ("us an image", "QPU time", "hours", "accuracy")
    table = new_table("QPU", *numbers, "budget", "choice", right=numbers, title=title)
    for row in rows:
        least = "" if row["known"] else ">= "
        style = "bold" if row["images"] else ""
        accuracy = "unknown" if row["accuracy"] is None else f"{row['accuracy']:.2%}\n{row['accuracy_of']}"
        fits = {None: "", True: "fits", False: "too small"}[row["fits_budget"]]
        share = f"{row['images']:,} images: " if row["images"] else ""
        table.add_row(
            Text(f"{'> ' if row['images'] else ''}{row['qpu']}\ngraph {row['graph_id']}", style),
            _figure(row["qpu_us_per_image"], f"{least}{{:,.1f}}"),
            _figure(row["qpu_us"], f"{least}{{:,.3f}} s", 1e-6),
            _figure(row["hours"], f"{least}{{:.3g}}"),
            accuracy,
            fits,
            Text(f"{share}{row['why']}", style),
        )
    return table


def _figure(value: float | None, form: str, factor: float = 1.0) -> str:
    return "" if value is None else form.format(value * factor)
