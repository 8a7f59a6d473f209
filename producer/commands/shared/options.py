"""Options that commands share, and how the longer ones are read."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Annotated, Any

import typer

from schema.errors import ParameterError
from schema.parameters import MAX_READS, Rule, Unembedding, Visible

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
NetworkName = Annotated[
    str | None,
    typer.Option("--network", "-n", help="NAME or NAME@VERSION; default: the newest for this image size."),
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
Reads = Annotated[
    int | None,
    typer.Option("--reads", "-r", help=f"Anneals for each image, 1 to {MAX_READS:,}; default: 100."),
]
Labels = Annotated[Path | None, typer.Option("--labels", help="File of labels, where DATA has none.")]
Limit = Annotated[int | None, typer.Option("--limit", "-l", help="Only the first so many images.")]
Classes = Annotated[
    str | None, typer.Option("--classes", help="Only images with these labels: 0,1,7 or names.")
]
VisibleUnits = Annotated[
    Visible | None,
    typer.Option("--visible", help="Visible units: sampled (default), or folded into biases."),
]
ConsensusRule = Annotated[
    Rule | None,
    typer.Option("--rule", help="How reads become class scores; default: lowest_energy_mean."),
]
Fraction = Annotated[
    float | None, typer.Option("--fraction", help="Share of lowest-energy reads kept; default: 0.1.")
]
Beta = Annotated[float | None, typer.Option("--beta", help="Inverse temperature of `boltzmann`; default: 1.")]
Sweeps = Annotated[int | None, typer.Option("--sweeps", help="Sweeps of the local annealer for each read.")]
Lam = Annotated[float | None, typer.Option("--lam", help="One-hot penalty; default: the network's.")]
NoCalibration = Annotated[
    bool,
    typer.Option("--no-calibration", help="Do not take what is not given here from a calibration."),
]
Noise = Annotated[
    float, typer.Option("--noise", help="Errors on h and J, as a fraction of their ranges: 0.02, say.")
]
Seed = Annotated[int, typer.Option("--seed", help="The same seed gives the same reads.")]
BatchSize = Annotated[
    int | None,
    typer.Option(
        "--batch-size",
        help="Images that one worker takes at a time; default: 100, and for solvers with qubits as many "
        "whole problems as come nearest to 1,000, eight at least, once an embedding is known.",
    ),
]
Priority = Annotated[int, typer.Option("--priority", help="Runs of higher priority go first.")]
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
Deadline = Annotated[
    str | None,
    typer.Option(
        "--deadline",
        help="2026-12-01T06:00, or 06:00 for the next one: afterwards nothing is sent any more, and a run "
        "that is not done has failed, for good; what was scored is kept.",
    ),
]
Key = Annotated[
    str | None,
    typer.Option("--idempotency-key", help="Send again without fear: the same key is the same run."),
]
Qpu = Annotated[
    str | None,
    typer.Option(
        "--qpu",
        help="With qubits: a solver's name, or features as JSON as in D-Wave's client; default: what its "
        "configuration says, or the largest. emulator-pegasus and emulator-zephyr are the emulator's.",
    ),
]
Tiles = Annotated[
    int | None,
    typer.Option("--tiles", help="With qubits: images in one problem at most; default: as many as fit."),
]
ChainStrength = Annotated[
    float | None,
    typer.Option(
        "--chain-strength",
        help="With qubits: as a multiple of the root mean square of the couplings times the root of the mean "
        "degree; default: 1.414.",
    ),
]
Scale = Annotated[
    float | None,
    typer.Option(
        "--scale",
        help="With qubits: share of the room in the ranges of h and J; above 1 the largest h are clipped; "
        "default: 1.",
    ),
]
AnnealingTime = Annotated[
    float | None,
    typer.Option("--annealing-time", help="With qubits: microseconds of one anneal; default: the solver's."),
]
Schedule = Annotated[
    str | None,
    typer.Option(
        "--anneal-schedule", help="With qubits: [[us, s], ...] as JSON, or a file of it, instead of a time."
    ),
]
Chains = Annotated[
    Unembedding | None,
    typer.Option("--unembedding", help="With qubits: how a chain becomes one value; default: majority_vote."),
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
