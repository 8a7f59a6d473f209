"""Writes a bundle of a run, by a program of the worker that reads the database."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import Session

from producer.files import replacing
from producer.proof import report
from producer.proof.report import ProofReport, StartStep
from producer.stack import programs
from producer.stack.programs import Program
from schema.errors import InputError, NotFound
from schema.settings import Settings
from schema.states import FINISHED_RUNS
from schema.tables import Run

LICENCE = "not stated: ask the publisher"
_PATIENCE_S = 24 * 3600  # a million images take hours


def check(session: Session, run: int) -> None:
    """Raise unless ``session`` has ``run``, and it is finished.

    Raises:
        NotFound: there is no such run.
        InputError: it is not finished.
    """
    state = session.execute(select(Run.state).where(Run.id == run)).scalar()
    if state is None:
        raise NotFound(f"run {run} does not exist: `annealq runs list`")
    if state not in FINISHED_RUNS:
        raise InputError(f"run {run} is {state}: bundle it when it is finished")


def write(
    settings: Settings,
    run: int,
    output: Path,
    start_step: StartStep,
    *,
    images: bool = False,
    licence: str = LICENCE,
    sign: Path | None = None,
) -> ProofReport:
    """Write a bundle of the finished ``run`` to ``output``, verify it, and return what it proves.

    An existing file is replaced once the new one is complete and verified.

    Args:
        settings: where the database is.
        start_step: shows progress.
        images: also the images; without them, the SHA-256 of each batch.
        licence: URL of the licence under which it is published, or words.
        sign: PEM file of an Ed25519 private key.

    Raises:
        InputError: the run or the key cannot be used, or the run cannot be proven on this machine.
        ParameterError, DiskFull: the file cannot be written.
    """
    with replacing(output) as unfinished:
        arguments = [str(run), str(unfinished), "--licence", licence]
        arguments += ["--images"] if images else []
        arguments += [] if sign is None else ["--sign", str(sign)]
        with programs.start(Program.BUNDLE, arguments, settings, timeout_s=_PATIENCE_S) as running:
            return report.read(running, start_step)
