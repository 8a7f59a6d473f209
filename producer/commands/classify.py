"""`annealq classify`: enqueue a data set and print the results, or estimate what it would cost."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial

import typer

from producer.commands.shared import options as o
from producer.commands.shared.reading import inputs_of, print_notes
from producer.commands.shared.request import takes_request
from producer.runs.request import ClassificationRequest
from schema.errors import ParameterError


@takes_request
def classify(
    request: ClassificationRequest,
    key: o.Key = None,
    calibrate: o.Calibrate = None,
    calibrate_budget: o.CalibrateBudget = None,
    allow_overlap: o.AllowOverlap = False,
    dry_run: o.DryRun = False,
    embedded: o.Embedded = False,
    workers: o.Workers = None,
    detach: o.Detach = False,
    json: o.Json = False,
) -> None:
    """Classify a data set: enqueue it as a run, watch it, print the results.

    Example: `annealq classify digits --limit 100 --embedded`.
    """
    if calibrate is None and (calibrate_budget is not None or allow_overlap):
        raise typer.BadParameter("--calibrate-budget and --allow-overlap belong to --calibrate DATA")
    if calibrate is not None and (dry_run or not request.calibrated):
        raise typer.BadParameter("leave out --calibrate, or --dry-run and --no-calibration")
    if detach and dry_run:
        raise typer.BadParameter("a dry run cannot be detached; leave out --detach or --dry-run")
    if detach and embedded:
        raise typer.BadParameter(
            "the embedded workers stop with this command; leave out --detach or --embedded"
        )
    from producer.commands.shared import calibrating, submission
    from producer.intake.find import read_or_open

    budget_us = o.microseconds(calibrate_budget)
    if budget_us is not None and not request.solver.is_remote:
        raise ParameterError(f"solver {request.solver} charges nothing: omit --calibrate-budget")
    request = request.in_zone(o.zone_name(None))
    request.options(datetime.now(UTC), key)  # a wrong key or deadline is refused before anything starts
    takes = inputs_of(request.network)
    images, source = read_or_open(request, takes)
    print_notes(images)
    prepare = None
    if calibrate is not None:
        validation = calibrating.read_validation(_validation(request, calibrate), takes)
        if not allow_overlap:
            calibrating.refuse_shared(validation, images, source)
        prepare = partial(
            calibrating.calibrate_first,
            request=request,
            images=images,
            validation=validation,
            budget_us=budget_us,
        )
    if dry_run:
        submission.estimate(request, images, source, key, embedded=embedded, workers=workers, json=json)
    else:
        what = (request, images, key, prepare, source)
        submission.send(*what, embedded=embedded, workers=workers, detach=detach, json=json)


def _validation(request: ClassificationRequest, data: str) -> ClassificationRequest:
    """Return the request for the images ``data`` to calibrate with, prepared as those of ``request``."""
    names = ("read_as", "resize", "fit", "invert", "skip_unreadable")
    return ClassificationRequest(data=data, **{name: getattr(request, name) for name in names})
