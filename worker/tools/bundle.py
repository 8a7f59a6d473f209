"""Writes a bundle of a run, and verifies it: `python -m worker.tools.bundle RUN OUTPUT`.

It prints one JSON object a line: progress (``step``, ``done``, ``total``), then the ``findings``.
"""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path

from schema.database import Database
from schema.errors import InputError
from schema.settings import load
from worker.proof import collect
from worker.proof.collect import BundleOptions
from worker.proof.container import signature
from worker.proof.verify import Findings, Report, verify
from worker.tools import entry


def bundle(database: Database, run: int, path: Path, wanted: BundleOptions, report: Report) -> Findings:
    """Write ``run`` of ``database`` to ``path``, then verify the file; return what that found out.

    Raises:
        NotFound, InputError: the run cannot be bundled, or not be proven on this machine.
        Corrupt: what is stored is damaged.
    """
    collect.write(database, run, path, wanted, report)
    public = None if wanted.key is None else wanted.key.public_key().public_bytes_raw()
    findings = verify(path, public, report)
    if findings.wrong:
        part, what = findings.wrong[0]
        raise InputError(
            f"run {run} cannot be proven here: {part} {what}. Bundle it on a machine like that of its "
            f"workers; if an earlier version scored it: `annealq runs rescore {run}`, and bundle that run"
        )
    return findings


def main() -> None:
    """Write the bundle that the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m worker.tools.bundle")
    parser.add_argument("run", type=int)
    parser.add_argument("output", type=Path)
    parser.add_argument("--images", action="store_true")
    parser.add_argument("--licence", required=True)
    parser.add_argument("--sign", type=Path)
    options = parser.parse_args()
    key = None if options.sign is None else signature.private_key(options.sign)
    wanted = BundleOptions(options.images, options.licence, key)
    database = Database(load().database_url)
    try:
        found = bundle(database, options.run, options.output, wanted, entry.print_progress())
        entry.print_result("findings", asdict(found))
    finally:
        database.dispose()


if __name__ == "__main__":
    entry.run(main)
