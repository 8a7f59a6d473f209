"""Calibrates a network for a solver: enqueues what is compared, and follows it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from typing import Any

import typer

from producer import jobs
from producer.calibration.enqueue import DEFAULT_US, refuse_shared_images
from producer.calibration.grid import ParameterGrid
from producer.calibration.queries import CalibrationSummary
from producer.commands.shared.interrupting import explaining_interruption
from producer.commands.shared.reading import print_notes
from producer.context import AppContext
from producer.enqueued import Enqueued
from producer.images.imageset import ImageSet
from producer.intake.drawn import drawn
from producer.intake.find import read_at_once, read_or_open, source_for
from producer.intake.source import LargeSource
from producer.networks.choose import get_or_install_network
from producer.reports.calibration import calibration_text
from producer.reports.progress import StepBars, watch_calibration
from producer.reports.terminal import page, print_json, screen
from producer.runs.request import ClassificationRequest, RunRequest
from schema.errors import ParameterError
from schema.network.layers import Input
from schema.parameters import Solver, Visible


def calibrate(
    app: AppContext,
    images: ImageSet,
    network: str | None,
    solver: Solver,
    grid: ParameterGrid,
    budget_us: int | None = None,
) -> CalibrationSummary:
    """Calibrate ``network`` for ``solver`` on ``images``, show the progress, and return the result.

    Raises:
        AnnealqError: as `enqueue`, or a run failed or is paused.
    """
    queued = enqueue(app, images, network, solver, grid, budget_us)
    again = "the same command takes it up"
    with explaining_interruption(f"calibration {queued.id}", again, ""):
        return watch_calibration(app.database, queued.id, screen(), app.check)


def calibrate_and_print(
    app: AppContext,
    images: ImageSet,
    network: str,
    solver: Solver,
    grid: ParameterGrid,
    budget_us: int | None,
    *,
    detach: bool,
    json: bool,
) -> None:
    """Calibrate as `calibrate` does and print the result, or with ``detach`` that it is queued.

    Args:
        json: print one JSON object instead of tables.
    """
    if not detach:
        calibration = calibrate(app, images, network, solver, grid, budget_us)
        if json:
            print_json(asdict(calibration))
        else:
            page().print(calibration_text(calibration))
        return
    queued = enqueue(app, images, network, solver, grid, budget_us)
    if json:
        print_json({"calibration_id": queued.id, "created": queued.created})
    else:
        typer.echo(f"calibration {queued.id} is queued: `annealq networks show {network}` shows its state")


def enqueue(
    app: AppContext,
    images: ImageSet,
    network: str | None,
    solver: Solver,
    grid: ParameterGrid,
    budget_us: int | None = None,
) -> Enqueued:
    """Enqueue a calibration of ``network`` for ``solver`` on ``images``; a worker plans and samples its runs.

    The same calibration that is not finished is taken up instead: it was interrupted.

    Args:
        app: database, broker and workers.
        grid: parameters that are compared.
        budget_us: QPU time that all of it may be charged; None: 2 s. For solvers with qubits only.

    Raises:
        AnnealqError: the images cannot be used, or the budget is too small.
    """
    chosen = get_or_install_network(app.database, images, network)
    if solver.is_remote and budget_us is None:
        budget_us = DEFAULT_US
    queued = jobs.submit_calibration(app, images, chosen, solver, grid, budget_us)
    if not queued.created:
        screen().print(f"calibration {queued.id} has the same images and settings, and continues")
    return queued


def calibrate_first(
    app: AppContext,
    request: RunRequest,
    images: ImageSet,
    validation: ImageSet,
    budget_us: int | None,
) -> None:
    """Calibrate on ``validation`` what ``request`` for ``images`` does not name, and print the result.

    Args:
        app, budget_us: as for `calibrate`.
    """
    asked, solver = request.asked, request.solver
    names = ("seed", "reads", "qpu", "tiles") if solver.is_remote else ("seed", "reads")
    values: dict[str, Any] = {name: asked[name] for name in names if asked.get(name) is not None}
    if "visible" in asked:
        values["visibles"] = (Visible(asked["visible"]),)
    grid = ParameterGrid.of(solver, **values)
    name = request.network or get_or_install_network(app.database, images, None).name
    screen().print(calibration_text(calibrate(app, validation, name, solver, grid, budget_us)))


def refuse_shared(images: ImageSet, test: ImageSet, source: LargeSource | None = None) -> None:
    """Raise ImageError if one of ``images`` is also in ``test``, or in ``source``, whose head it is."""
    if source is None:
        refuse_shared_images(images, test.name, [test])
        return
    with StepBars(screen()) as steps:
        advance = steps.start_step(f"comparing with {source.name}", source.count)

        def parts() -> Iterator[ImageSet]:
            for part in source.read():
                yield part.images
                advance(len(part.rows))

        refuse_shared_images(images, source.name, parts())


def read_validation(
    request: ClassificationRequest,
    takes: Callable[[bool], Input | None] | None = None,
    test: str | None = None,
) -> ImageSet:
    """Return the images of ``request`` to calibrate with; of a large source some are drawn.

    A calibration stores its images in one row, so that they are held in memory. What was changed, left out or
    drawn is printed.

    Args:
        takes: as for `producer.images.source.read_images`.
        test: other data, prepared in the same way, with which they may share no image.

    Raises:
        ImageError: they cannot be used, or are among those of ``test``.
    """
    source = source_for(request, takes)
    if source is None:
        images = read_at_once(request, takes)
    else:
        with StepBars(screen()) as steps:
            images = drawn(source, report=steps.start_step(f"reading {source.name}", source.end))
    print_notes(images)
    if test is not None:
        refuse_shared(images, *read_or_open(replace(request, data=test, labels=None, limit=None)))
    return images


def grid_of(
    solver: Solver, lists: dict[str, str | None], reads: int | None, visible: Visible | None, **others: Any
) -> ParameterGrid:
    """Return the grid of the options of `networks calibrate`.

    Args:
        lists: options with several values, by name, as text.
        reads, visible, others: its other options.

    Raises:
        ParameterError: one is out of range, or ``solver`` does not have it.
    """
    values: dict[str, Any] = {
        name if name == "sweeps" else f"{name}s": _numbers(name, text)
        for name, text in lists.items()
        if text is not None
    }
    visibles = None if visible is None else (visible,)
    return ParameterGrid.of(solver, reads=reads, visibles=visibles, **values, **others)


def _numbers(name: str, text: str) -> tuple[float, ...]:
    """Return the numbers of a list with commas; those of sweeps are whole."""
    try:
        return tuple((int if name == "sweeps" else float)(part) for part in text.split(","))
    except ValueError:
        raise ParameterError(f"{name} is {text!r}: expected comma-separated numbers") from None
