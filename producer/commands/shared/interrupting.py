"""Says on Ctrl-C what continues without the command, and how to end it; on a terminal it asks."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import typer

INTERRUPTED = 130  # exit code after Ctrl-C


@contextmanager
def explaining_interruption(
    subject: str, again: str, ends: str, cancel: Callable[[], object] | None = None
) -> Iterator[None]:
    """On Ctrl-C within the block, print that ``subject`` continues, and exit.

    Args:
        subject: what workers do, as in "run 3".
        again: a command that follows it again.
        ends: how to end it, as a sentence without its full stop; empty: it need not be said.
        cancel: ends it; people at a terminal are asked whether to.

    Raises:
        KeyboardInterrupt: workers stop with this command, and its stack wants to know.
        typer.Exit: otherwise.
    """
    from producer.reports.terminal import screen

    try:
        yield
    except KeyboardInterrupt as interruption:
        console, embedded = screen(), hasattr(interruption, "exit_code")
        if cancel is not None and _is_wanted(interruption, subject):
            cancel()
            text = f"{subject} is cancelled; what is scored stays"
        else:
            when = "continues when workers run again" if embedded else "continues"
            text = f"{subject} {when}: {again}" + (f"; {ends}" if ends else "")
        console.print(text, markup=False, highlight=False)
        if embedded:
            raise
        raise typer.Exit(INTERRUPTED) from None


def _is_wanted(interruption: KeyboardInterrupt, subject: str) -> bool:
    """Ask whether to cancel ``subject``; False without a terminal, and at another Ctrl-C."""
    is_key = getattr(interruption, "signal", signal.SIGINT) is signal.SIGINT
    if not (is_key and sys.stdin.isatty() and sys.stderr.isatty()):
        return False
    try:
        return typer.confirm(f"cancel {subject}?", default=False, err=True)
    except (KeyboardInterrupt, typer.Abort):
        typer.echo(err=True)
        return False
