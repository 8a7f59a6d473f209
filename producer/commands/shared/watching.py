"""Follows a run and prints what came out; shared by the commands that start one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import typer

from schema.states import RunState

if TYPE_CHECKING:
    from producer.calibration.enqueue import CalibrationChoice
    from producer.context import AppContext
    from producer.enqueued import Enqueued
    from producer.images.imageset import ImageSet


def print_calibration_notice(
    fitted: CalibrationChoice | None, images: ImageSet, asked: Mapping[str, Any]
) -> None:
    """Say on standard error which parameters come from a calibration, and what is doubtful about it."""
    from producer.calibration import overlap
    from producer.reports.parameters import parameters_text
    from producer.reports.terminal import screen

    if fitted is None:
        return
    taken = parameters_text(fitted.parameters, set(fitted.parameters) - set(asked))
    screen().print(
        f"calibration {fitted.id} ({fitted.accuracy:.2%} of {fitted.images:,} images of {fitted.name}): "
        f"{taken or 'nothing, as all is given'}; --no-calibration does without",
        markup=False,
    )
    if images.labels is None:
        return
    known = len(overlap.shared_images(overlap.digests(images.images), fitted.image_digests))
    if known:
        screen().print(
            f"warning: {known:,} of the {len(images.images):,} images were calibrated with: "
            "the accuracy on them is optimistic"
        )


def print_enqueued(run: Enqueued, *, json: bool) -> None:
    """What `classify --detach` prints."""
    from producer.reports.terminal import print_json

    if json:
        print_json({"run_id": run.id, "created": run.created})
        return
    known = "" if run.created else " (it was there already)"
    typer.echo(f"run {run.id} is queued{known}: `annealq runs watch {run.id}`")


def follow_and_print(at: AppContext, run: int, *, json: bool) -> None:
    """Follow a run to its end, print it, and exit with 1 when it did not finish well."""
    from producer.reports.progress import watch_run
    from producer.reports.terminal import screen

    console = screen()
    try:
        seen = watch_run(at.database, run, console, at.check)
    except KeyboardInterrupt as interruption:
        if hasattr(interruption, "exit_code"):  # the embedded stack's own: it says what becomes of the work
            raise
        console.print(f"run {run} goes on: `annealq runs watch {run}`")
        raise typer.Exit(130) from None
    _show(at.database, run, scores=False, json=json)
    if seen.state is not RunState.DONE:
        raise typer.Exit(1)


def _show(database: Any, run: int, *, scores: bool, json: bool) -> None:
    from producer.reports import run as reports_run
    from producer.reports.terminal import page, print_json
    from producer.runs import summary

    with database.reading() as session:
        if json:
            print_json(summary.run_object(session, run, database.now(session)))
        else:
            now = database.now(session)
            page().print(reports_run.run_text(session, run, scores=scores, now=now))
