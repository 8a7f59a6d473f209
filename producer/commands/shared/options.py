"""Options that commands share, and how the longer ones are read."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Annotated, Any

import typer

from schema.errors import ParameterError

_MAX_SCHEDULE_BYTES = 100_000  # 100 points are far fewer

Workers = Annotated[
    int | None, typer.Option("--workers", min=1, help="Batches at a time; default: one per processor.")
]
Embedded = Annotated[
    bool, typer.Option("--embedded", help="Run a private broker and workers for the length of this command.")
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of tables.")]
Data = Annotated[
    str,
    typer.Argument(
        help="`digits`, an IDX file (.gz too), .npz (FILE:SPLIT chooses one of several), .npy, .csv, "
        "or a folder of images, flat or by class."
    ),
]
SolverName = Annotated[
    str,
    typer.Option(
        "--solver",
        "-s",
        help="local (simulated annealing), exact (Boltzmann draws), emulator (D-Wave's protocol on this "
        "machine) or dwave (a QPU, charged).",
    ),
]
Labels = Annotated[Path | None, typer.Option("--labels", help="File of labels, where DATA has none.")]
Classes = Annotated[
    str | None, typer.Option("--classes", help="Only images with these labels: 0,1,7 or names.")
]
NoCalibration = Annotated[
    bool,
    typer.Option("--no-calibration", help="Do not take what is not given here from a calibration."),
]
Budget = Annotated[
    float | None,
    typer.Option(
        "--budget",
        help="With qubits: QPU seconds that the run may be charged; the problem that would exceed "
        "it is not sent, and the run pauses.",
    ),
]
Window = Annotated[
    list[str] | None,
    typer.Option(
        "--window",
        help="Hours in which the run may work: `22:00-06:00` every night, `mon-fri 22:00-06:00` the nights "
        "that begin on these days, `sat,sun 00:00-24:00` whole days. May be given several times. Outside of "
        "them the run is paused: nothing is sent that would not be answered before a window's end, and it "
        "goes on by itself when the next one opens. On the nights when clocks are changed, what a clock on "
        "the wall shows counts.",
    ),
]
Zone = Annotated[
    str | None,
    typer.Option(
        "--tz",
        help="Time zone of --window and --deadline, Europe/London say; default: this machine's, or UTC where "
        "that has no name. The run remembers it.",
    ),
]
Key = Annotated[
    str | None,
    typer.Option("--idempotency-key", help="Send again without fear: the same key is the same run."),
]
DryRun = Annotated[
    bool,
    typer.Option("--dry-run", help="Say what it would need and cost; no image is sent."),
]
Detach = Annotated[bool, typer.Option("--detach", help="Enqueue, print the run's number and return.")]


def microseconds(seconds: float | None) -> int | None:
    """A budget as it is kept; raises ParameterError where it is no time."""
    if seconds is None:
        return None
    if not (math.isfinite(seconds) and seconds > 0):
        raise ParameterError(f"a budget of {seconds} s: a number of QPU seconds above 0 is needed")
    return max(round(seconds * 1e6), 1)


def zone_name(given: str | None) -> str:
    """The zone that was given, or this machine's, or UTC where that cannot be told."""
    if given is not None:
        return given
    import tzlocal

    try:
        return tzlocal.get_localzone_name() or "UTC"
    except (LookupError, ValueError, OSError):
        return "UTC"


def read_schedule(text: str) -> list[Any]:
    """The points of an anneal schedule from JSON, or from a file of it; `Parameters` checks them.

    Raises:
        ParameterError: no such file, or no JSON list.
    """
    if not text.lstrip().startswith("["):
        path = Path(text)
        try:
            with path.open(encoding="utf-8") as file:
                text = file.read(_MAX_SCHEDULE_BYTES)
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or "it is no text"
            raise ParameterError(
                f"anneal schedule {path}: {reason}; give [[0, 0], [20, 1]], or a file of that"
            ) from None
    try:
        points = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ParameterError(f"an anneal schedule is JSON, [[0, 0], [20, 1]]: {error}") from None
    if not isinstance(points, list):
        raise ParameterError("an anneal schedule is a list of points [microseconds, s]")
    return points
