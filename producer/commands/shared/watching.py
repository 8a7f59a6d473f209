"""Follows a run and prints its results; shared by the commands that start one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import typer

from producer.commands.shared.interrupting import explaining_interruption
from schema.quantities import count_text
from schema.states import RunState

if TYPE_CHECKING:
    from pathlib import Path

    from producer.calibration.choice import CalibrationChoice
    from producer.context import AppContext
    from producer.enqueued import Enqueued
    from producer.images.imageset import ImageSet
    from schema.database import Database
    from schema.settings import Settings


_OTHERS = 10  # runs in a notice


def print_network(network: str, reason: str | None) -> None:
    """Print to standard error which ``network`` classifies, and the ``reason`` why it was chosen."""
    from producer.reports.terminal import screen

    screen().print(f"network {network}" + (f": {reason}" if reason else ""), markup=False)


def print_network_notice(database: Database, run: Enqueued) -> None:
    """Print the network of ``run`` in ``database``, and why it was chosen."""
    from producer.runs import queries

    with database.reading() as session:
        summary = queries.run(session, run.id)
    print_network(summary.network, summary.network_reason)
    print_reads(summary.reads_reason)


def print_reads(reason: str | None) -> None:
    """Print to standard error how often images are read and why, if that was chosen for the run."""
    from producer.reports.terminal import screen

    if reason is not None:
        screen().print(f"reads: {reason}", markup=False)


def print_calibration_notice(
    calibration: CalibrationChoice | None, images: ImageSet, asked: Mapping[str, Any]
) -> None:
    """Print to standard error which parameters come from ``calibration``, and warn about shared images.

    Args:
        images: those of the run; accuracy on images that were calibrated with is too optimistic.
        asked: the parameters that the user gave, by name.
    """
    from producer.reports.parameters import parameters_text
    from producer.reports.terminal import screen
    from schema.codecs import image_digests

    if calibration is None:
        return
    taken = parameters_text(calibration.parameters, set(calibration.parameters) - set(asked))
    measured = (
        f"{calibration.accuracy:.2%} of {count_text(calibration.images, 'image')} of {calibration.name}"
    )
    screen().print(
        f"calibration {calibration.id} ({measured}): "
        f"{taken or 'nothing, as all is given'}; --no-calibration omits it",
        markup=False,
    )
    if images.labels is None:
        return
    shared = len(image_digests.shared_images(image_digests.digests(images.images), calibration.image_digests))
    if shared:
        screen().print(
            f"warning: {shared:,} of the {count_text(len(images.images), 'image')} were used for "
            "calibration: "
            "the accuracy on them is too optimistic"
        )


def print_promise(database: Database, run: int) -> None:
    """Print to standard error what was promised of ``run`` in ``database``, and what else was possible."""
    from producer.reports import parameters as reports_parameters
    from producer.reports.terminal import screen
    from producer.runs import queries

    with database.reading() as session:
        promise = queries.promise(session, run)
    if promise is not None:
        screen().print(reports_parameters.front_text(promise))


def print_other_runs(database: Database, run: Enqueued) -> None:
    """Print which unfinished runs in ``database`` the workers of this command take up besides ``run``."""
    from producer.reports.terminal import screen
    from producer.runs import queries
    from schema.quantities import count_text
    from schema.states import LIVE_RUNS

    with database.reading() as session:
        found = [each for state in LIVE_RUNS for each in queries.runs(session, _OTHERS, state=state)]
    others = sorted(each.run_id for each in found if each.run_id != run.id)
    if others:
        names = ", ".join(map(str, others))
        screen().print(
            f"the workers of this command also work on {count_text(len(others), 'unfinished run')}: {names}",
            markup=False,
        )


def print_enqueued(run: Enqueued, *, json: bool) -> None:
    """Print that ``run`` is queued, as one ``json`` object or as a line."""
    from producer.reports.terminal import print_json

    if json:
        print_json({"run_id": run.id, "created": run.created})
        return
    existing = "" if run.created else " (it existed already)"
    typer.echo(f"run {run.id} is queued{existing}: `annealq runs watch {run.id}`")


def follow_and_print(app: AppContext, run: int, *, json: bool) -> None:
    """Follow ``run`` of ``app`` to its end, print it as ``json`` or tables, and exit with 1 unless done."""
    from producer.reports.progress import watch_run
    from producer.reports.terminal import screen
    from producer.runs.control import cancel

    again, ends = f"`annealq runs watch {run}`", f"`annealq runs cancel {run}` cancels it"
    with explaining_interruption(f"run {run}", again, ends, lambda: cancel(app.database, run)):
        progress = watch_run(app.database, run, screen(), app.check)
    _show(app.database, run, scores=False, json=json)
    if progress.state is not RunState.DONE:
        raise typer.Exit(1)


def _show(database: Any, run: int, *, scores: bool, json: bool) -> None:
    from producer.progress import history
    from producer.reports import run as reports_run
    from producer.reports.terminal import page, print_json
    from producer.runs import summary

    with database.reading() as session:
        if json:
            values = summary.run_object(session, run, database.now(session))
            actions = [summary.plain(asdict(action)) for action in history.actions(session, run)]
            print_json({**values, "actions": actions})
        else:
            now = database.now(session)
            page().print(reports_run.run_text(session, run, scores=scores, now=now))


def fit_and_show(settings: Settings, run: int, path: Path, problems: int) -> dict[str, Any]:
    """Write the twin of the chip of ``run`` to ``path`` and return what was found; show the progress.

    Args, Raises: as for `twin.fit`.
    """
    from producer.forecasts import twin
    from producer.reports.progress import StepBars
    from producer.reports.terminal import screen

    with StepBars(screen()) as bars:
        steps: dict[str, tuple[Callable[[int], None], int]] = {}

        def on_progress(step: str, done: int, size: int) -> None:
            advance, before = steps.get(step) or (bars.start_step(step, size), 0)
            advance(done - before)
            steps[step] = advance, done

        return twin.fit(settings, run, path, problems, on_progress)
