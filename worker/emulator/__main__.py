"""`python -m worker.emulator`: run the emulator in the foreground."""

from __future__ import annotations

import logging
import sys

from schema.errors import AnnealqError, StackError


def main() -> None:
    """Run the emulator until it is stopped; exit with the error's code where it cannot start."""
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        try:
            from worker.emulator.server import serve
            from worker.emulator.service.options import parse
        except ModuleNotFoundError as error:
            raise StackError(f"{error.name} is not installed: pip install 'annealq[emulator]'") from error
        serve(parse(sys.argv[1:]))
    except AnnealqError as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
