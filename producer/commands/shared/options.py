"""Options that commands share, and readers for those that need more than a type."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Annotated, Any

import typer

from schema.errors import ParameterError

MAX_NUMBER = 2**63 - 1  # of a row of the database
_MAX_JSON_BYTES = 100_000  # 100 points of a schedule are far fewer
# Of parameters that are lists.
_EXAMPLES = {"anneal_schedule": "[[0, 0], [20, 1]]", "rounds": "[[50, 1, 0.05]]"}

Workers = Annotated[
    int | None,
    typer.Option("--workers", min=1, help="Batches at a time; default: processors, 4 at least."),
]
Embedded = Annotated[
    bool, typer.Option("--embedded", help="Run a private broker and workers during this command.")
]
Number = Annotated[
    int, typer.Argument(metavar="RUN", max=MAX_NUMBER, help="The run's number, from `runs list`.")
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of tables.")]
Data = Annotated[
    str,
    typer.Argument(
        help="`digits`; a folder of pictures, flat or by class, or a .zip or .tar of one; Parquet or Arrow "
        "of Hugging Face; WebDataset; .npz, .npy, IDX (.gz too), CIFAR's .bin; .csv of pixels or of "
        "paths; s3://, gs://, abfs://. DATA:SPLIT chooses one of several."
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
    typer.Option(
        "--no-calibration", help="Use defaults instead of a calibration for parameters that are not given."
    ),
]
Budget = Annotated[
    float | None,
    typer.Option(
        "--budget",
        help="With qubits: QPU seconds that the run may be charged; a problem that would exceed "
        "it is not submitted, and the run pauses.",
    ),
]
Target = Annotated[
    str | None,
    typer.Option(
        "--target",
        metavar="SHARE",
        help="Accuracy that the run must reach, 99% or 0.99: QPU, visible units, reads, rule and the like "
        "are chosen from calibrations, as cheaply as it can be promised within --budget and --deadline. What "
        "other accuracies would take is printed.",
    ),
]
Prices = Annotated[
    list[str] | None,
    typer.Option(
        "--price-per-minute",
        metavar="PRICE",
        help="With --target: price of a minute of QPU time, 30, or of one QPU, NAME=45; may be given several "
        "times. The cheapest setting is then that of the lowest price.",
    ),
]
Calibrate = Annotated[
    str | None,
    typer.Option(
        "--calibrate",
        metavar="DATA",
        help="First fit all parameters that are not given on these labelled images, as `annealq networks "
        "calibrate` does; of 64 MiB and more, some are drawn. None of them may be among the images that are "
        "classified.",
    ),
]
CalibrateBudget = Annotated[
    float | None,
    typer.Option(
        "--calibrate-budget",
        help="With --calibrate and qubits: QPU seconds that it may be charged; default: 2.",
    ),
]
AllowOverlap = Annotated[
    bool, typer.Option("--allow-overlap", help="With --calibrate: accept images that are in both.")
]
Window = Annotated[
    list[str] | None,
    typer.Option(
        "--window",
        help="Hours in which the run may work: `22:00-06:00` every night, `mon-fri 22:00-06:00` the nights "
        "that begin on these days, `sat,sun 00:00-24:00` whole days. May be given several times. Outside of "
        "them the run is paused: no problem is submitted that would not be answered before the window "
        "closes, and the run resumes automatically with the next window. Windows follow local wall-clock "
        "time, also when clocks change.",
    ),
]
Tag = Annotated[
    list[str] | None,
    typer.Option("--tag", help="A word by which the run is found again; may be given several times."),
]
Zone = Annotated[
    str | None,
    typer.Option(
        "--tz",
        help="Time zone of --window and --deadline, for example Europe/London; default: this machine's, or "
        "UTC. It is stored with the run.",
    ),
]
Key = Annotated[
    str | None,
    typer.Option("--idempotency-key", help="Make retries safe: the same key is the same run."),
]
DryRun = Annotated[
    bool,
    typer.Option("--dry-run", help="Print what it would need and cost; no image is submitted."),
]
Detach = Annotated[bool, typer.Option("--detach", help="Enqueue, print the run's number and return.")]


def microseconds(seconds: float | None) -> int | None:
    """Return a budget of ``seconds`` in microseconds; raise ParameterError unless it is above 0."""
    if seconds is None:
        return None
    if not (math.isfinite(seconds) and seconds > 0):
        raise ParameterError(f"the budget is {seconds} s; it must be a finite number of QPU seconds above 0")
    return max(round(seconds * 1e6), 1)


def zone_name(zone: str | None) -> str:
    """Return ``zone``, or by default the time zone of this machine, or UTC if that is unknown."""
    if zone is not None:
        return zone
    import tzlocal

    try:
        return tzlocal.get_localzone_name() or "UTC"
    except (LookupError, ValueError, OSError):
        return "UTC"


def read_number(parameter: str, text: str, limits: str) -> int | str:
    """Return the whole number that ``text`` is, or `AUTO`, for ``parameter``, which has ``limits``.

    Raises:
        ParameterError: it is neither.
    """
    from schema.parameters import AUTO, words

    if text == AUTO:
        return AUTO
    try:
        return int(text)
    except ValueError:
        raise ParameterError(
            f"{words(parameter)} is {text[:80]!r}; write a whole number, {limits}, or {AUTO}"
        ) from None


def read_json(parameter: str, text: str) -> list[Any]:
    """Return the list that is the value of ``parameter`` from ``text``: JSON or the path of a JSON file.

    Raises:
        ParameterError: the file cannot be read, or the JSON is not a list. `Parameters` checks its content.
    """
    from schema.parameters import words

    name, example = words(parameter), _EXAMPLES[parameter]
    if not text.lstrip().startswith("["):
        path = Path(text)
        try:
            with path.open(encoding="utf-8") as file:
                text = file.read(_MAX_JSON_BYTES)
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or "it is not a text file"
            raise ParameterError(
                f"{name} {path}: {reason}; give a list such as {example}, or a file of one"
            ) from None
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ParameterError(f"{name}: write a list as JSON, such as {example}: {error}") from None
    if not isinstance(values, list):
        raise ParameterError(f"{name}: give a list, such as {example}")
    return values
