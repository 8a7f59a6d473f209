"""How programs of this room print progress, and end: an error is one line, and an exit code."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import Any

from schema.errors import AnnealqError

_EVERY_S = 0.2


def run(main: Callable[[], None]) -> None:
    """Call ``main``; on an error of ours, print its message and exit with its code (1 or 2)."""
    try:
        main()
    except AnnealqError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(error.exit_code)


def print_progress() -> Callable[[str, int, int], None]:
    """Return a function that prints a step, what is done and the total as JSON, a few times a second."""
    last = [float("-inf")]

    def report(step: str, done: int, total: int) -> None:
        now = time.monotonic()
        if now - last[0] >= _EVERY_S:
            last[0] = now
            _print({"step": step, "done": done, "total": total})

    return report


def print_result(name: str, value: dict[str, Any]) -> None:
    """Print ``value`` under ``name`` as a line of JSON: the last one."""
    _print({name: value})


def _print(line: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()
