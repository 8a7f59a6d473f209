"""Prints `--help`: whole first sentences in lists of commands, options in groups, an example at the end.

It is plain text, since boxes and colours take the room of words on 80 columns.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from schema.errors import validation_text

DATA, NETWORK, SAMPLING, QUBITS = "Data", "Network", "Sampling", "Sampling with qubits"
LIMITS, OUTPUT = "Money and hours", "Output"
_OPTIONS = "Options"
_PANELS = {
    DATA: "data labels classes limit read_as resize fit invert skip_unreadable test allow_overlap",
    NETWORK: "network solver_name architecture transfer epochs calibrate_on no_calibration calibrate",
    SAMPLING: "reads seed visible lam sweeps",
    QUBITS: "qpu chain_strength scale cross",
    LIMITS: "target budget calibrate_budget window tz deadline priority price_per_minute currency",
    OUTPUT: "name dry_run detach json since last",
}
_PANEL_OF = {name: panel for panel, names in _PANELS.items() for name in names.split()}
_TIMES = "2026-12-01 or 2026-12-01T22:00"
_NARROW, _NARROWEST = 52, 30  # columns
_FEW = 12  # options that need no groups
_EXAMPLE = re.compile(r"\n\s*Example: `([^`]+)`\.\s*$")


class ReadableErrors:
    """Says what is wrong with an argument by its value, without the words of the library that checks it."""

    def parse_args(self, ctx: Any, args: list[str]) -> Any:
        """Return what is left of ``args``; raise BadParameter for a value that cannot be used."""
        try:
            return super().parse_args(ctx, args)  # type: ignore[misc]
        except typer.BadParameter as error:
            from pydantic import ValidationError

            if isinstance(error.__cause__, ValidationError):
                value = error.__cause__.errors()[0]["input"]
                text = validation_text(error.message, value)
                of_time = text.partition(" does not match the formats ")
                error.message = f"{of_time[0]} is not a time: write {_TIMES}" if of_time[1] else text
            raise


class NarrowHelp:
    """Wraps help to the width of narrow terminals, which the library takes for 50 columns."""

    def get_help(self, ctx: Any) -> str:
        """Return the help of ``ctx`` in lines that fit."""
        columns = shutil.get_terminal_size().columns
        if columns < _NARROW:
            ctx.terminal_width = max(columns - 1, _NARROWEST)
        return super().get_help(ctx)  # type: ignore[misc,no-any-return]


class HelpCommand(NarrowHelp, ReadableErrors, TyperCommand):
    """A command whose docstring may end with "Example: `annealq ...`."."""

    def __init__(self, *args: Any, **values: Any) -> None:
        super().__init__(*args, **values)
        self.help, self.example = split_example(self.help or "")

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write arguments and options to ``formatter``, those of many options by their groups."""
        shown = [(param, record) for param in self.get_params(ctx) if (record := param.get_help_record(ctx))]
        arguments = [record for param, record in shown if param.param_type_name == "argument"]
        options = [(param, record) for param, record in shown if param.param_type_name == "option"]
        groups: dict[str, list[tuple[str, str]]] = {"Arguments": arguments}
        for panel in (*_PANELS, _OPTIONS):
            groups[panel] = []
        for param, record in options:
            panel = _OPTIONS if len(options) <= _FEW else _panel(param)
            groups[panel].append(record)
        for name, records in groups.items():
            if records:
                with formatter.section(name):
                    formatter.write_dl(records)

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """Write the example to ``formatter`` in one line, so that it can be copied."""
        super().format_epilog(ctx, formatter)
        if self.example:
            formatter.write(f"\nExample:\n  {self.example}\n")


class HelpGroup(NarrowHelp, ReadableErrors, TyperGroup):
    """A group that lists its commands with their whole first sentences."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the commands to ``formatter``."""
        rows = []
        for name in self.list_commands(ctx):
            command = self.get_command(ctx, name)
            if command is not None and not command.hidden:
                rows.append((name, first_sentence(command.help or "")))
        with formatter.section("Commands"):
            formatter.write_dl(rows)


class App(typer.Typer):
    """A `typer.Typer` with this help."""

    def __init__(self, **values: Any) -> None:
        super().__init__(**{"cls": HelpGroup, "rich_markup_mode": None, **values})

    def command(self, name: str | None = None, **values: Any) -> Callable[[Any], Any]:
        """Return the decorator of a command called ``name``; ``values`` are those of typer."""
        return super().command(name, **{"cls": HelpCommand, **values})


def first_sentence(text: str) -> str:
    """Return the first sentence of ``text``, on one line.

    >>> first_sentence("List runs. They\\nmay be many.")
    'List runs.'
    """
    paragraph = " ".join(text.partition("\n\n")[0].split())
    return re.split(r"(?<=\.) ", paragraph, maxsplit=1)[0]


def split_example(text: str) -> tuple[str, str]:
    """Return ``text`` without the example at its end, and the example.

    >>> split_example("List runs.\\n\\nExample: `annealq runs list`.")
    ('List runs.', 'annealq runs list')
    """
    found = _EXAMPLE.search(text)
    return (text, "") if found is None else (text[: found.start()].rstrip(), " ".join(found[1].split()))


def _panel(param: Any) -> str:
    panel: str = getattr(param, "rich_help_panel", None) or _PANEL_OF.get(param.name, _OPTIONS)
    return panel
