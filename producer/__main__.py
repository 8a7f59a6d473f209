"""The program `annealq`: the command line, which Ctrl-C ends without a traceback while it is imported."""

from __future__ import annotations

import signal


def main() -> None:
    """Import the command line and run it."""
    # Importing takes a moment in which nothing has begun that would have to be undone.
    is_default = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if is_default:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from producer import cli

    if is_default:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    cli.main()


if __name__ == "__main__":
    main()
