"""Ends a command: every error becomes one readable line and an exit code, 1 failed or 2 usage."""

from __future__ import annotations

import errno
import os
import shutil
import sys
import tempfile
import textwrap
import traceback
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TextIO

import typer

from producer.files import OUT_OF_SPACE
from schema.errors import AnnealqError, ParameterError

_MAX_LINE = 1_000  # characters: a value that is longer is cut in the middle of the line
_OF_OUTPUT = (*OUT_OF_SPACE, errno.EIO, errno.EBADF)


def run(command: Callable[[], object]) -> None:
    """Call ``command``, and exit with a line on standard error for each error that it raises.

    Raises:
        SystemExit: with exit code 1 or 2 after an error.
    """
    prepare_output()
    try:
        command()
    except AnnealqError as error:
        text, code = str(error), error.exit_code
    except MemoryError:
        text, code = "the memory of this machine does not suffice: use --limit N, or smaller images", 1
    except OSError as error:
        if error.filename is not None:
            text, code = _of_file(os.fsdecode(error.filename), error), 1
        elif error.strerror and error.errno in _OF_OUTPUT:
            text, code = _of_output(error), 1
        else:
            text, code = _defect(error), 1
    except Exception as error:  # noqa: BLE001 - the boundary to a person: never a traceback
        text, code = _defect(error), 1
    else:
        return
    typer.secho(fitting(f"error: {printable(text)}"), err=True, fg="red")
    sys.exit(code)


def refuse_empty(arguments: Sequence[str]) -> None:
    """Raise ParameterError for an empty word of ``arguments``, most often a variable that is not set."""
    for before, word in zip(["annealq", *arguments], arguments, strict=False):
        if not word or (word.startswith("--") and word.endswith("=")):
            place = f"of {word[:-1]}" if word else f"after `{before}`"
            raise ParameterError(
                f"the value {place} is empty: give one, or leave it out; is a variable of your shell not set?"
            )


def prepare_output() -> None:
    """Let standard output and error take every character, and be there even where they were closed."""
    sys.stdout = _usable(sys.stdout)
    sys.stderr = _usable(sys.stderr)


def printable(text: str) -> str:
    """Return ``text`` with characters that would control a terminal escaped, and with long lines cut."""
    lines = ("".join(map(_escaped, line)) for line in text.split("\n"))
    return "\n".join(line if len(line) <= _MAX_LINE else _cut(line) for line in lines)


def fitting(text: str) -> str:
    """Return ``text`` for standard error: on a terminal, lines end between words."""
    if not sys.stderr.isatty():
        return text
    width = shutil.get_terminal_size().columns
    # Paths and commands are not broken: whoever copies them needs them whole.
    wrap = partial(textwrap.fill, width=width, break_long_words=False, break_on_hyphens=False)
    return "\n".join(wrap(line) if len(line) > width else line for line in text.split("\n"))


def _of_file(name: str, error: OSError) -> str:
    if error.errno in OUT_OF_SPACE:
        return f"disk full: {name}: free some space, or name a file on another disk"
    return f"{name}: {error.strerror}: check that it exists, and that you may use it"


def _of_output(error: OSError) -> str:
    if error.errno in OUT_OF_SPACE:
        return "disk full: standard output: free some space, or write to a file on another disk"
    return f"standard output: {error.strerror}: write to another place"


def _escaped(letter: str) -> str:
    return letter if letter.isprintable() else letter.encode("unicode_escape").decode("ascii")


def _cut(line: str) -> str:
    half = _MAX_LINE // 2
    return f"{line[:half]} ... {line[-half:]}"


def _usable(stream: TextIO | None) -> TextIO:
    if stream is None:  # closed by whoever started this process
        return Path(os.devnull).open("w", encoding="utf-8")
    if hasattr(stream, "reconfigure"):
        stream.reconfigure(errors="backslashreplace")  # ASCII locales; names that are not text
    return stream


def _defect(error: Exception) -> str:
    """Write the traceback of ``error`` to a file; return the line for a person, which names it."""
    reason = next(iter(str(error).strip().splitlines()), "") or "no reason given"
    try:
        with tempfile.NamedTemporaryFile(
            "w", prefix="annealq-error-", suffix=".txt", delete=False, errors="backslashreplace"
        ) as file:
            traceback.print_exception(error, file=file)
    except OSError:
        return f"this is a defect of annealq ({reason}): please report it"
    return f"this is a defect of annealq ({reason}): please report it, with {file.name}"
