"""`annealq runs read`: reads the images of runs that the API and schedules have enqueued."""

from __future__ import annotations

from typing import Annotated

import typer

from producer.context import AppContext


def read(
    run: Annotated[int | None, typer.Argument(metavar="[RUN]", help="This run only; default: all.")] = None,
) -> None:
    """Read the images of runs that the API or a schedule has enqueued, on the machine that has their files.

    `annealq serve`, `annealq up` and `annealq schedules serve` do so automatically; of several readers one
    reads a run. A reader that is killed loses nothing: the next one reads on from the end of the run.

    Example: `annealq runs read`.
    """
    from producer.context import database
    from schema.settings import load

    settings = load()
    with database(settings) as opened:
        done = read_in_background(AppContext(settings, opened), run)
    if not done:
        typer.echo("no run waits for images that are on this machine: `annealq runs list`")


def read_in_background(app: AppContext, run: int | None = None) -> list[int]:
    """Read the images of ``run`` of ``app``, or of all runs that wait for theirs, and return these runs.

    Raises:
        StorageError: the database is not reachable.
    """
    from producer.intake.background import read_waiting
    from producer.intake.growth import GrowthHints
    from producer.reports.progress import StepBars
    from producer.reports.terminal import screen

    done, notifiers = dict[int, int](), dict[int, GrowthHints]()
    with StepBars(screen()) as steps:
        advance = steps.start_step("reading", 0)

        def report(number: int, images: int) -> None:
            app.check()
            advance(images - done.get(number, images))
            done[number] = images
            notifiers.setdefault(number, GrowthHints(app, number)).grown()

        runs = read_waiting(app.database, app.settings.home, run, report)
    for notifier in notifiers.values():
        notifier.ended()
    return runs
