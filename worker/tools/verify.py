"""Verifies a bundle, without a database: `python -m worker.tools.verify BUNDLE`.

It prints one JSON object a line: progress (``step``, ``done``, ``total``), then the ``findings``.
"""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path

from worker.proof.container import signature
from worker.proof.verify import verify
from worker.tools import entry


def main() -> None:
    """Verify the bundle that the command line names."""
    parser = argparse.ArgumentParser(prog="python -m worker.tools.verify")
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--key", type=Path)
    options = parser.parse_args()
    key = None if options.key is None else signature.public_key(options.key)
    entry.print_result("findings", asdict(verify(options.bundle, key, entry.print_progress())))


if __name__ == "__main__":
    entry.run(main)
