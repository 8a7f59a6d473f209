"""`annealq classify`: enqueue a data set and print the results, or estimate what it would cost."""

from __future__ import annotations

from datetime import UTC, datetime

import typer

from producer.commands.shared import options as o
from producer.commands.shared.reading import print_notes
from producer.commands.shared.request import takes_request
from producer.runs.request import ClassificationRequest


@takes_request
def classify(
    request: ClassificationRequest,
    key: o.Key = None,
    dry_run: o.DryRun = False,
    embedded: o.Embedded = False,
    workers: o.Workers = None,
    detach: o.Detach = False,
    json: o.Json = False,
) -> None:
    """Classify a data set: enqueue it as a run, watch it, print the results."""
    if detach and dry_run:
        raise typer.BadParameter("a dry run cannot be detached; leave out --detach or --dry-run")
    if detach and embedded:
        raise typer.BadParameter(
            "the embedded workers stop with this command; leave out --detach or --embedded"
        )
    from producer.commands.shared import submission

    request = request.in_zone(o.zone_name(None))
    request.options(datetime.now(UTC), key)  # a wrong key or deadline is refused before anything starts
    images = request.read()
    print_notes(images)
    if dry_run:
        submission.estimate(request, images, key, embedded=embedded, workers=workers, json=json)
    else:
        submission.send(request, images, key, embedded=embedded, workers=workers, detach=detach, json=json)
