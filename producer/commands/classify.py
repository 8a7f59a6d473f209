"""`annealq classify`: enqueue a data set, watch it, print what came out; or say what it would cost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from producer.commands import options as o
from schema.parameters import Parameters, solver

if TYPE_CHECKING:
    from pathlib import Path

    from producer.images import ImageSet

# Parameters that a calibration may fill in where they are not given, in the order of `classify`'s options.
_CHOICES = (
    *("reads", "seed", "visible", "rule", "fraction", "beta", "sweeps", "lam", "noise", "qpu", "tiles"),
    *("chain_strength", "scale", "annealing_time_us", "anneal_schedule", "unembedding"),
)


def classify(
    data: o.Data,
    network: o.NetworkName = None,
    solver_name: o.SolverName = "local",
    reads: o.Reads = None,
    labels: o.Labels = None,
    limit: o.Limit = None,
    classes: o.Classes = None,
    visible: o.VisibleUnits = None,
    rule: o.ConsensusRule = None,
    fraction: o.Fraction = None,
    beta: o.Beta = None,
    sweeps: o.Sweeps = None,
    lam: o.Lam = None,
    no_calibration: o.NoCalibration = False,
    noise: o.Noise = 0.0,
    qpu: o.Qpu = None,
    tiles: o.Tiles = None,
    chain_strength: o.ChainStrength = None,
    scale: o.Scale = None,
    annealing_time: o.AnnealingTime = None,
    anneal_schedule: o.Schedule = None,
    unembedding: o.Chains = None,
    seed: o.Seed = 0,
    batch_size: o.BatchSize = None,
    priority: o.Priority = 0,
    budget: o.Budget = None,
    window: o.Window = None,
    tz: o.Zone = None,
    deadline: o.Deadline = None,
    key: o.Key = None,
    dry_run: o.DryRun = False,
    embedded: o.Embedded = False,
    workers: o.Workers = None,
    detach: o.Detach = False,
    json: o.Json = False,
) -> None:
    """Classify a data set: enqueue it as a run, watch it, print what came out."""
    _refuse_contradictions(dry_run=dry_run, embedded=embedded, detach=detach)
    schedule = None if anneal_schedule is None else o.read_schedule(anneal_schedule)
    asked = _asked(
        *(reads, seed, visible, rule, fraction, beta, sweeps, lam, noise, qpu, tiles),
        *(chain_strength, scale, annealing_time, schedule, unembedding),
    )
    chosen = solver(solver_name)
    hours = o.hours(window, tz, deadline)
    Parameters.from_dict(asked).check_for(chosen)
    from producer.commands.submission import Submission, estimate, send
    from producer.enqueue import RunOptions, default_batch_size

    size = default_batch_size(chosen) if batch_size is None else batch_size
    budget_us = o.microseconds(budget)
    run_options = RunOptions(batch_size=size, priority=priority, key=key, budget_us=budget_us, hours=hours)
    images = _read(data, labels, classes, limit)
    job = Submission(images, network, chosen, asked, run_options, calibrated=not no_calibration)
    if dry_run:
        estimate(job, embedded=embedded, workers=workers, json=json)
    else:
        send(job, embedded=embedded, workers=workers, detach=detach, json=json)


def _refuse_contradictions(*, dry_run: bool, embedded: bool, detach: bool) -> None:
    if detach and dry_run:
        raise typer.BadParameter("a dry run is waited for; leave out --detach or --dry-run")
    if detach and embedded:
        raise typer.BadParameter(
            "the embedded workers stop with this command; leave out --detach or --embedded"
        )


def _asked(*given: Any) -> dict[str, Any]:
    """The parameters that were given, by name."""
    return {name: value for name, value in zip(_CHOICES, given, strict=True) if value is not None}


def _read(data: str, labels: Path | None, classes: str | None, limit: int | None) -> ImageSet:
    from producer import images as reader

    images = reader.read(data, labels)
    if classes is not None:
        images = images.only(classes.split(","))
    return images if limit is None else images.limit(limit)
