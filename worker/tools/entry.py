"""How every program of this room ends: an error is one line on standard error, and an exit code."""

from __future__ import annotations

import sys
from collections.abc import Callable

from schema.errors import AnnealqError


def run(main: Callable[[], None]) -> None:
    """Call ``main``; on an error of ours, print its message and exit with its code (1 or 2)."""
    try:
        main()
    except AnnealqError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(error.exit_code)
