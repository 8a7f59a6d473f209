"""The QPUs that a run may use, compared in a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from producer.reports.terminal import new_table
from schema.quantities import count_text


def comparison_table(rows: Sequence[Mapping[str, Any]], title: str) -> Table:
    """Return the table of ``rows`` of `qpus.with_experience` under ``title``; chosen QPUs are marked."""
    numbers = ("us an image", "QPU time", "hours", "accuracy")
    table = new_table("QPU", *numbers, "budget", "choice", right=numbers, title=title)
    for row in rows:
        least = "" if row["known"] else ">= "
        style = "bold" if row["images"] else ""
        accuracy = "unknown" if row["accuracy"] is None else f"{row['accuracy']:.2%}\n{row['accuracy_of']}"
        fits = {None: "", True: "fits", False: "too small"}[row["fits_budget"]]
        share = f"{count_text(row['images'], 'image')}: " if row["images"] else ""
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
