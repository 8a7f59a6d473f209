"""Twins of chips: fitted to the reads of a run by a program with the worker's packages."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from producer.files import replacing
from producer.stack import programs
from producer.stack.programs import Program
from schema.errors import AnnealqError
from schema.settings import Settings

MOST_PROBLEMS = 20_000
DEFAULT_PROBLEMS = 3_000
_FIT_S = 7200.0


def fit(
    settings: Settings, run: int, path: Path, problems: int, on_progress: Callable[[str, int, int], None]
) -> dict[str, Any]:
    """Write the twin of the chip of ``run`` to ``path``, an .npz file, and return what was found.

    Args:
        settings: where the database is.
        problems: the latest good ones that are read.
        on_progress: called with what is done, how much of it, and of how much.

    Raises:
        InputError: there is no such run, or it has too few problems with reads on a chip.
        ParameterError, StorageError: the file cannot be written.
        AnnealqError: the worker's packages are not installed, or what is stored is damaged.
    """
    found: dict[str, Any] | None = None
    with replacing(path) as part:
        arguments = [str(run), str(part), str(problems)]
        with programs.start(Program.TWIN, arguments, settings, timeout_s=_FIT_S) as running:
            for line in running.json_lines():
                found = line.get("twin", found)
                if "step" in line:
                    on_progress(line["step"], line["done"], line["size"])
        if found is None:
            raise AnnealqError("the program that fits twins printed none: report this")
    return found


def home_file(settings: Settings, run: int) -> Path:
    """Return where the twin of the chip of ``run`` is stored, in a folder of the home that then exists."""
    folder = settings.home / "twins"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder / f"run-{run}.npz"
