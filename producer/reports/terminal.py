"""Standard output for results, standard error for progress and remarks, tables and plots for both."""

from __future__ import annotations

import math
import sys
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any

import typer
from rich.console import Console, ConsoleOptions, OverflowMethod, RenderResult
from rich.measure import Measurement
from rich.table import Table

from schema.quantities import number_text

_PIPE = 400  # columns of a page that nobody looks at
_WRAPPED = 24  # columns that text with line breaks needs at least
_WIDTH, _HEIGHT = 64, 12  # characters of the area; with its labels 74 columns
_LABEL = 8  # characters of the label of a share, and of the space behind it
_LEAST = 1e-4  # difference of shares that fills the area at least
_POINT, _CHOSEN = "o", "*"


def screen() -> Console:
    """Return the console of progress and remarks: standard error, since standard output is for results."""
    return Console(stderr=True, emoji=False)  # file.npz:train: is a name


def page() -> Console:
    """Return the console of human-readable results. A pipe gets all columns, and lines of full length."""
    return Console(width=None if sys.stdout.isatty() else _PIPE, emoji=False)


class FittingTable(Table):
    """A table that leaves columns out where its width does not suffice, instead of cutting words.

    Attributes:
        first_out: names of the columns to leave out, in this order.
        wrapped: names of the columns whose text may continue in the next line.
    """

    first_out: Sequence[str] = ()
    wrapped: Collection[str] = ()

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield the lines of the table with as many columns as fit."""
        left_out: list[str] = []
        shown = self._without(left_out)
        while len(left_out) < len(self.first_out) and not _fits(shown, console, options):
            left_out.append(self.first_out[len(left_out)])
            shown = self._without(left_out)
        if left_out:
            shown.caption, shown.caption_justify = f"left out: {', '.join(left_out)}", "left"
        fits = _fits(shown, console, options)
        for column in shown.columns:
            column.max_width = None
            column.no_wrap = column.no_wrap and fits
        yield shown

    def _without(self, names: Sequence[str]) -> Table:
        """Return a table with the columns that are not in ``names``; wrapped ones count with a few words."""
        shown = Table(title=self.title)
        shown.rows = self.rows
        columns = [column for column in self.columns if column.header not in names]
        for index, column in enumerate(columns):
            is_wrapped = column.header in self.wrapped
            width = _WRAPPED if is_wrapped else None
            shown.columns.append(replace(column, _index=index, max_width=width, no_wrap=not is_wrapped))
        return shown


class FirstThatFits:
    """Several tables of the same thing: the first one that fits is shown, or else the last one."""

    def __init__(self, *tables: Table) -> None:
        self._tables = tables

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield the table."""
        yield next((table for table in self._tables if _fits(table, console, options)), self._tables[-1])


def _fits(table: Table, console: Console, options: ConsoleOptions) -> bool:
    return Measurement.get(console, options.update(width=_PIPE), table).maximum <= options.max_width


def new_table(
    *columns: str,
    right: Collection[str] = (),
    title: str | None = None,
    first_out: Sequence[str] = (),
    wrapped: Collection[str] = (),
) -> Table:
    """Return an empty table with a ``title`` and ``columns``; those in ``right`` are right-aligned.

    With ``first_out`` it is a `FittingTable`.
    """
    table = Table(title=title)
    if first_out:
        table = FittingTable(title=title)
        table.first_out, table.wrapped = first_out, wrapped
    for name in columns:
        overflow: OverflowMethod = "fold" if first_out else "ellipsis"
        table.add_column(name, justify="right" if name in right else "left", overflow=overflow)
    return table


def new_grid() -> Table:
    """Return an empty table of names and values, without lines."""
    return Table.grid(padding=(0, 2))


def plot_lines(
    points: Sequence[tuple[float, float, bool]], target: float, above: str, below: str
) -> list[str]:
    """Return the lines of a plot of ``points``.

    Args:
        points: cost, share in [0, 1], and whether it is the chosen one.
        target: share at which a line is drawn, if it is within the plot.
        above, below: names of the axis of shares, and of that of costs.
    """
    shares = [share for _, share, _ in points]
    low, high = min(*shares, target), max(*shares, target)
    if high - low > 4 * (max(shares) - min(shares)) + _LEAST:  # a target far away would hide the points
        low, high = min(shares), max(shares)
    high = max(high, low + _LEAST)
    positive = [cost for cost, _, _ in points if cost > 0.0]
    first, last = (min(positive), max(positive)) if positive else (1.0, 1.0)
    area = [[" "] * _WIDTH for _ in range(_HEIGHT)]
    if low <= target <= high:
        area[_plot_row(target, low, high)] = list("- " * (_WIDTH // 2))
    for cost, share, is_chosen in sorted(points, key=lambda point: point[2]):  # the chosen one is on top
        area[_plot_row(share, low, high)][_plot_column(cost, first, last)] = _CHOSEN if is_chosen else _POINT
    labels = {_plot_row(share, low, high): f"{share:.2%}" for share in (low, (low + high) / 2, high)}
    drawn = [
        f"{labels.get(row, ''):>{_LABEL - 1}} |{''.join(cells).rstrip()}" for row, cells in enumerate(area)
    ]
    ends = [number_text(first), number_text(last)]
    axis = f"{ends[0]}{below:^{_WIDTH - len(ends[0]) - len(ends[1])}}{ends[1]}"
    margin = " " * _LABEL
    return [f"{margin} {above}", *drawn, f"{margin}+{'-' * _WIDTH}", f"{margin} {axis}"]


def _plot_row(share: float, low: float, high: float) -> int:
    return round((high - share) / (high - low) * (_HEIGHT - 1))


def _plot_column(cost: float, first: float, last: float) -> int:
    """Return the column of ``cost``; a cost of 0 is in the first one."""
    if cost <= first or last <= first:
        return 0
    return round(math.log(cost / first) / math.log(last / first) * (_WIDTH - 1))


def print_json(value: Any) -> None:
    """Print ``value`` as one JSON document on standard output."""
    import json

    typer.echo(json.dumps(value, indent=2, default=str))
