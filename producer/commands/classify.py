"""`annealq classify`: its many options, and what it does."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from producer.commands import runs
from schema.parameters import MAX_READS, Parameters, Rule, Visible, solver

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
    str, typer.Option("--solver", "-s", help="local (simulated annealing) or exact (Boltzmann draws).")
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
BatchSize = Annotated[int, typer.Option("--batch-size", help="Images that one worker takes at a time.")]
Priority = Annotated[int, typer.Option("--priority", help="Runs of higher priority go first.")]
Key = Annotated[
    str | None,
    typer.Option("--idempotency-key", help="Send again without fear: the same key is the same run."),
]
Detach = Annotated[bool, typer.Option("--detach", help="Enqueue, print the run's number and return.")]

# Parameters that a calibration may fill in where they are not given.
_CHOICES = ("reads", "seed", "visible", "rule", "fraction", "beta", "sweeps", "lam", "noise")


def classify(
    data: Data,
    network: NetworkName = None,
    solver_name: SolverName = "local",
    reads: Reads = None,
    labels: Labels = None,
    limit: Limit = None,
    classes: Classes = None,
    visible: VisibleUnits = None,
    rule: ConsensusRule = None,
    fraction: Fraction = None,
    beta: Beta = None,
    sweeps: Sweeps = None,
    lam: Lam = None,
    no_calibration: NoCalibration = False,
    noise: Noise = 0.0,
    seed: Seed = 0,
    batch_size: BatchSize = 100,
    priority: Priority = 0,
    key: Key = None,
    embedded: Embedded = False,
    workers: Workers = None,
    detach: Detach = False,
    json: Json = False,
) -> None:
    """Classify a data set: enqueue it as a run, watch it, print what came out."""
    from producer import images as reader
    from producer.enqueue import RunOptions
    from producer.jobs import submit, submit_calibrated
    from producer.session import work

    if detach and embedded:
        raise typer.BadParameter(
            "the embedded workers stop with this command; leave out --detach or --embedded"
        )
    given = (reads, seed, visible, rule, fraction, beta, sweeps, lam, noise)
    asked = {name: value for name, value in zip(_CHOICES, given, strict=True) if value is not None}
    parameters = Parameters.from_dict(asked)
    chosen = solver(solver_name)
    options = RunOptions(batch_size=batch_size, priority=priority, key=key)
    images = reader.read(data, labels)
    if classes is not None:
        images = images.only(classes.split(","))
    if limit is not None:
        images = images.limit(limit)
    with work(embedded=embedded, workers=workers) as at:
        if no_calibration:
            run = submit(at, images, network, chosen, parameters, options)
        else:
            run, fitted = submit_calibrated(at, images, network, chosen, asked, options)
            runs.tell_calibration(fitted, images, asked)
        if detach:
            runs.show_enqueued(run, json=json)
            return
        runs.watch_and_show(at, run.id, json=json)
