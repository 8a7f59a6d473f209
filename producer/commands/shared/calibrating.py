"""Calibrates a network for a solver: estimates what the settings cost, enqueues the runs, follows them."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import typer

from producer import jobs
from producer.calibration.budget import DEFAULT_US, SettingCost, affordable_images
from producer.calibration.enqueue import own_lams, refuse_shared_images
from producer.calibration.grid import ParameterGrid
from producer.calibration.queries import CalibrationSummary
from producer.calibration.unfinished import find_unfinished
from producer.commands.shared.interrupting import explaining_interruption
from producer.context import AppContext
from producer.enqueued import Enqueued
from producer.images.imageset import ImageSet
from producer.images.preprocessing import Preprocessing
from producer.images.source import read_images
from producer.networks.choose import get_or_install_network
from producer.networks.chosen import ChosenNetwork
from producer.networks.compatibility import match_images
from producer.reports.calibration import calibration_text
from producer.reports.progress import watch_calibration, watch_dry_run
from producer.reports.terminal import page, print_json, screen
from producer.runs.batch_size import REMOTE_BATCH_SIZE, tiles_known
from producer.runs.request import RunRequest
from schema.errors import ParameterError
from schema.parameters import Parameters, Solver, Visible
from schema.quantities import count_text


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
    """Enqueue a calibration of ``network`` for ``solver`` on as many ``images`` as the budget suffices for.

    The same calibration that is not finished is taken up instead: it was interrupted.

    Args:
        app: database, broker and workers.
        grid: parameters that are compared.
        budget_us: QPU time that all of it may be charged; None: 2 s. For solvers with qubits only.

    Raises:
        AnnealqError: the images cannot be used, or the budget is too small.
    """
    chosen = get_or_install_network(app.database, images, network)
    images = match_images(images, chosen)
    if solver.is_remote and budget_us is None:
        budget_us = DEFAULT_US
    with app.database.reading() as session:
        unfinished = find_unfinished(session, images, chosen, solver, grid, budget_us)
    if unfinished is not None:
        screen().print(f"calibration {unfinished} has the same images and settings, and continues")
        return Enqueued(unfinished, created=False)
    if budget_us is not None:
        available = len(images.images)
        images = images.sample(_affordable(app, chosen, solver, grid, budget_us, available), grid.seed)
        used = len(images.images)
        screen().print(
            f"comparing on {used:,} of {count_text(available, 'image')}, for {budget_us / 1e6:g} s at most"
        )
    queued, trained_on = jobs.submit_calibration(app, images, chosen, solver, grid, budget_us)
    if trained_on:
        total = f"{count_text(len(images.images), 'image')}"
        screen().print(f"{trained_on:,} of the {total} are among those the network was trained on")
    return queued


def _affordable(
    app: AppContext,
    network: ChosenNetwork,
    solver: Solver,
    grid: ParameterGrid,
    budget_us: int,
    available: int,
) -> int:
    with app.database.reading() as session:
        settings = grid.parameters(own_lams(session, network.id))
    costs: dict[Visible, SettingCost] = {}
    for parameters in settings:
        if parameters.visible not in costs:
            costs[parameters.visible] = _cost(app, network, solver, parameters)
    return affordable_images([costs[each.visible] for each in settings], budget_us, available)


def _cost(app: AppContext, network: ChosenNetwork, solver: Solver, parameters: Parameters) -> SettingCost:
    """Return the cost of a full problem by dry runs, which find an embedding and submit nothing."""

    def prepare(count: int, size: int) -> dict[str, float]:
        dry_run = jobs.submit_dry_run(app, network.id, solver, parameters, images=count, batch_size=size)
        return watch_dry_run(app.database, dry_run, screen(), app.check).plan

    with app.database.reading() as session:
        known = tiles_known(session, network.id, solver, parameters)
    tiles = int(prepare(0, REMOTE_BATCH_SIZE)["tiles"]) if known is None else known
    plan = prepare(tiles, tiles)
    return SettingCost(int(plan["tiles"]), plan["qpu_us"] / plan["problems"])


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
    grid = ParameterGrid.embedded(**values) if solver.is_remote else ParameterGrid(**values)
    name = request.network or get_or_install_network(app.database, images, None).name
    screen().print(calibration_text(calibrate(app, validation, name, solver, grid, budget_us)))


def refuse_shared(images: ImageSet, test: str | None, preprocessing: Preprocessing) -> None:
    """Raise ImageError if one of ``images`` is also in the data ``test``, read with ``preprocessing``."""
    if test is not None:
        refuse_shared_images(images, read_images(test, preprocessing=preprocessing))


_QPU_ONLY = ("chain_strengths", "scales", "qpu", "budget", "crossed")


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
    if reads is not None:
        values["reads"] = reads
    if visible is not None:
        values["visibles"] = (visible,)
    if not solver.is_remote and (
        foreign := [name for name in _QPU_ONLY if name in values or others.get(name)]
    ):
        raise ParameterError(
            f"solver {solver} has no qubits: {foreign[0].replace('_', ' ')} belongs to a QPU"
        )
    del others["budget"]
    if not solver.is_remote:
        del others["crossed"]
    grid = (ParameterGrid.embedded if solver.is_remote else ParameterGrid)(**values, **others)
    grid.parameters(dict.fromkeys(Visible, 1.0))  # checks them
    return grid


def _numbers(name: str, text: str) -> tuple[float, ...]:
    """Return the numbers of a list with commas; those of sweeps are whole."""
    try:
        return tuple((int if name == "sweeps" else float)(part) for part in text.split(","))
    except ValueError:
        raise ParameterError(f"{name} is {text!r}: expected comma-separated numbers") from None
