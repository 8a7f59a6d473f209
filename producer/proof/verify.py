"""Verifies a bundle, by a program of the worker that needs no database."""

from __future__ import annotations

from pathlib import Path

from producer.proof import report
from producer.proof.report import ProofReport, StartStep
from producer.stack import programs
from producer.stack.programs import Program
from schema.settings import Settings

_PATIENCE_S = 24 * 3600


def verify(settings: Settings, path: Path, start_step: StartStep, key: Path | None = None) -> ProofReport:
    """Verify the bundle ``path``, and return what it proves.

    Args:
        settings: of the program; nothing of them is opened.
        start_step: shows progress.
        key: PEM file of the public key that must have signed it.

    Raises:
        InputError: a file cannot be read.
        AnnealqError: the worker's libraries are not installed.
    """
    arguments = [str(path), *([] if key is None else ["--key", str(key)])]
    with programs.start(Program.VERIFY, arguments, settings, timeout_s=_PATIENCE_S) as running:
        return report.read(running, start_step)
