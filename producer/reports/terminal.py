"""Standard output for results, standard error for progress and remarks, and tables for both."""

from __future__ import annotations

import sys
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any

import typer
from rich.console import Console, ConsoleOptions, OverflowMethod, RenderResult
from rich.measure import Measurement
from rich.table import Table

_PIPE = 400  # columns of a page that nobody looks at
_WRAPPED = 24  # columns that text with line breaks needs at least


def screen() -> Console:
    """Return the console of progress and remarks: standard error, since standard output is for results."""
    return Console(stderr=True)


def page() -> Console:
    """Return the console of human-readable results. A pipe gets all columns, and lines of full length."""
    return Console(width=None if sys.stdout.isatty() else _PIPE)


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


def print_json(value: Any) -> None:
    """Print ``value`` as one JSON document on standard output."""
    import json

    typer.echo(json.dumps(value, indent=2, default=str))
