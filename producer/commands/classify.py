"""`annealq classify`: enqueue a data set, watch it, print what came out; or say what it would cost."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import typer

from producer.commands.shared import options as o
from producer.runs.request import ClassificationRequest
from schema.errors import ParameterError
from schema.parameters import solver

# Parameters that a calibration may fill in where they are not given, and the options that give them.
_SAME = (
    *("reads", "seed", "visible", "rule", "fraction", "beta", "sweeps", "lam", "noise", "qpu", "tiles"),
    *("chain_strength", "scale", "anneal_schedule", "unembedding"),
)
_CHOICES = {**{name: name for name in _SAME}, "annealing_time_us": "annealing_time"}


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
    given = dict(locals())
    _refuse_contradictions(dry_run=dry_run, embedded=embedded, detach=detach)
    request = request_of(given)
    from producer.commands.shared.submission import Submission, estimate, send

    run_options = request.options(datetime.now(UTC), key)
    job = Submission(
        request.read(), network, request.solver, request.asked, run_options, calibrated=request.calibrated
    )
    if dry_run:
        estimate(job, embedded=embedded, workers=workers, json=json)
    else:
        send(job, embedded=embedded, workers=workers, detach=detach, json=json)


def request_of(given: Mapping[str, Any]) -> ClassificationRequest:
    """What these options of `classify` ask for, by name.

    Raises:
        ParameterError: one of them cannot be used.
    """
    timed = given["window"] or given["deadline"] is not None
    if given["tz"] is not None and not timed:
        raise ParameterError(f"--tz {given['tz']} is of --window and --deadline, and neither is given")
    asked = {name: given[option] for name, option in _CHOICES.items() if given[option] is not None}
    if given["anneal_schedule"] is not None:
        asked["anneal_schedule"] = o.read_schedule(given["anneal_schedule"])
    return ClassificationRequest(
        data=given["data"],
        labels=None if given["labels"] is None else str(given["labels"]),
        classes=None if given["classes"] is None else tuple(given["classes"].split(",")),
        limit=given["limit"],
        network=given["network"],
        solver=solver(given["solver_name"]),
        asked=asked,
        calibrated=not given["no_calibration"],
        batch_size=given["batch_size"],
        priority=given["priority"],
        budget_us=o.microseconds(given["budget"]),
        windows=tuple(given["window"] or ()),
        zone=o.zone_name(given["tz"]) if timed else None,
        deadline=given["deadline"],
    )


def _refuse_contradictions(*, dry_run: bool, embedded: bool, detach: bool) -> None:
    if detach and dry_run:
        raise typer.BadParameter("a dry run is waited for; leave out --detach or --dry-run")
    if detach and embedded:
        raise typer.BadParameter(
            "the embedded workers stop with this command; leave out --detach or --embedded"
        )
