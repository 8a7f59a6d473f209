"""`annealq runs samples`: stored reads as a sample set."""

from __future__ import annotations

import tempfile
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from producer.commands.shared.options import MAX_NUMBER
from schema.parameters import SampleSetRequest

_PATIENCE_S = 300.0  # importing torch from a cold disk takes its time


class SampleFormat(StrEnum):
    """Forms of exported reads."""

    OCEAN = "ocean"


def samples(
    run: Annotated[
        int, typer.Argument(metavar="RUN", max=MAX_NUMBER, help="The run's number, from `runs list`.")
    ],
    image: Annotated[
        int | None, typer.Option("--image", help="Index of the image whose reads are wanted, from 0.")
    ] = None,
    problem: Annotated[
        int | None,
        typer.Option("--problem", help="Instead: a problem, with all images that it carried."),
    ] = None,
    physical: Annotated[
        bool,
        typer.Option("--physical", help="The qubits with their h and J as they were on the chip, scaled."),
    ] = False,
    of_round: Annotated[
        int | None,
        typer.Option("--round", help="Only this round of the image's reads; default: all that decided."),
    ] = None,
    form: Annotated[
        SampleFormat, typer.Option("--format", "-f", help="ocean: a dimod.SampleSet as JSON.")
    ] = SampleFormat.OCEAN,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File to write; default: standard output.")
    ] = None,
) -> None:
    """Export the stored reads of an image or a problem as a sample set of D-Wave's Ocean.

    `dimod.SampleSet.from_serializable` reads it. Its `info` has the binary quadratic model, and from a solver
    with qubits the embedding, the timing, the ids of problem and graph, broken chains and warnings, so that
    `dwave.embedding` and `dwave.inspector` take it. The problems of an image are in `info["annealq"]`.

    Example: `annealq runs samples 1 --image 7 --output image-7.json`.
    """
    from producer.context import database
    from producer.files import replacing
    from producer.stack import programs
    from producer.stack.programs import Program
    from schema.settings import load

    SampleSetRequest(image, problem, physical, of_round)  # refused before a process is started
    options = {"--image": image, "--problem": problem, "--round": of_round}
    chosen = [part for name, value in options.items() if value is not None for part in (name, str(value))]
    chosen += ["--physical"] if physical else []

    def write(path: Path) -> None:
        settings, arguments = load(), [str(run), str(path), *chosen]
        with database(settings):  # says what to do if it is empty or has another version
            programs.run(Program.OCEAN_SAMPLES, arguments, settings, timeout_s=_PATIENCE_S)

    if output is None:
        with tempfile.TemporaryDirectory(prefix="annealq-") as folder:
            file = Path(folder) / f"samples.{form}"
            write(file)
            typer.echo(file.read_text(encoding="utf-8"), nl=False)
        return
    with replacing(output) as part:
        write(part)
    typer.echo(f"written to {output}", err=True)
