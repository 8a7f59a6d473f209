"""Standard output for results, standard error for progress and remarks, and tables for both."""

from __future__ import annotations

import sys
from collections.abc import Collection
from typing import Any

import typer
from rich.console import Console
from rich.table import Table


def screen() -> Console:
    """Return the console of progress and remarks: standard error, since standard output is for results."""
    return Console(stderr=True)


def page() -> Console:
    """Return the console of human-readable results. A pipe gets lines of full length."""
    return Console(width=None if sys.stdout.isatty() else 160)


def new_table(*columns: str, right: Collection[str] = (), title: str | None = None) -> Table:
    """Return an empty table with a ``title`` and ``columns``; those in ``right`` are right-aligned."""
    table = Table(title=title)
    for name in columns:
        table.add_column(name, justify="right" if name in right else "left")
    return table


def new_grid() -> Table:
    """Return an empty table of names and values, without lines."""
    return Table.grid(padding=(0, 2))


def print_json(value: Any) -> None:
    """Print ``value`` as one JSON document on standard output."""
    import json

    typer.echo(json.dumps(value, indent=2, default=str))
