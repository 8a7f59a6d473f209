"""Where the command line writes: progress to standard error, results to standard output."""

from __future__ import annotations

import sys
from typing import Any

import typer
from rich.console import Console


def screen() -> Console:
    """Where progress and remarks go: standard error, so that standard output is the result alone."""
    return Console(stderr=True)


def page() -> Console:
    """Where results for people go. A pipe gets lines of full length."""
    return Console(width=None if sys.stdout.isatty() else 160)


def print_json(value: Any) -> None:
    """One JSON document on standard output."""
    import json

    typer.echo(json.dumps(value, indent=2, default=str))
