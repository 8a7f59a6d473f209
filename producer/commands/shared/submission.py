"""Sends the request of `annealq classify` as a run, or estimates its cost by a dry run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from producer import jobs
from producer.calibration import background
from producer.calibration.enqueue import count_trained_on
from producer.commands.shared import watching
from producer.commands.shared.reading import read_all
from producer.commands.shared.session import check_database, open_app
from producer.context import AppContext, database
from producer.images.imageset import ImageSet
from producer.intake.source import LargeSource
from producer.networks.choose import choose_network, get_or_install_network
from producer.networks.compatibility import changes, match_images
from producer.progress.access import other_account
from producer.reports import parameters as reports_parameters
from producer.reports import solver as reports_solver
from producer.reports.progress import watch_dry_run
from producer.reports.terminal import page, print_json, screen
from producer.runs import qpus, queries
from producer.runs.batch_size import batch_size, tiles_known
from producer.runs.dry_runs import DryRunSummary
from producer.runs.request import RunRequest
from schema.database import Database
from schema.parameters.batch_sizes import REMOTE_BATCH_SIZE
from schema.quantities import count_text
from schema.settings import load


def send(
    request: RunRequest,
    images: ImageSet,
    key: str | None,
    prepare: Callable[[AppContext], None] | None = None,
    source: LargeSource | None = None,
    *,
    embedded: bool,
    workers: int | None,
    detach: bool,
    json: bool,
) -> None:
    """Enqueue ``request`` for ``images`` under ``key``; unless ``detach``, follow the run and print results.

    Args:
        prepare: is called before, with the workers running.
        source: is read in pieces while the workers sample its first ``images``.
        embedded, workers: as for `open_app`.
        json: print one JSON object instead of tables.
    """
    check = _checks(request, images, key, source, calibrates=prepare is not None)
    with open_app(embedded=embedded, workers=workers, solver=request.solver, check=check) as app:
        if prepare is not None:
            prepare(app)
        run, calibration = jobs.submit(app, request, images, key, source=source)
        watching.print_network_notice(app.database, run)
        if embedded:
            watching.print_other_runs(app.database, run)
        watching.print_calibration_notice(calibration, images, request.asked)
        watching.print_promise(app.database, run.id)
        _warn(app, images, run.id)
        if calibration is None and request.calibrated and request.solver.is_remote:
            _offer_calibration(app, images, run.id)
        if source is not None:
            read_all(app, run.id, source, key)
        if detach:
            watching.print_enqueued(run, json=json)
            return
        watching.follow_and_print(app, run.id, json=json)


def _checks(
    request: RunRequest,
    images: ImageSet,
    key: str | None,
    source: LargeSource | None = None,
    *,
    calibrates: bool,
) -> Callable[[Database], None]:
    """Return what refuses ``request`` by the database alone; what a calibration may change is left out."""

    def check(opened: Database) -> None:
        if calibrates:
            match_images(images, get_or_install_network(opened, images, request.network))
        else:
            jobs.check(opened, request, images, key, source)

    return check


def _warn(app: AppContext, images: ImageSet, run: int) -> None:
    """Print to standard error what makes the accuracy of ``run`` on ``images`` worse or better than it is."""
    with app.database.reading() as session:
        network = choose_network(session, queries.run(session, run).network, images.shape)
        changed = changes(images, network)
        warnings = [changed and f"{images.name}: {changed}", background.warning(session, images, network)]
        now = app.database.now(session)
        warnings.append(other_account(session, queries.run(session, run).solver, app.settings, now))
        trained_on = 0 if images.labels is None else count_trained_on(session, network.id, images)
    if trained_on:
        warnings.append(
            f"warning: network {network.name!r} was trained on {trained_on:,} of the "
            f"{count_text(len(images.images), 'image')}: "
            "the accuracy on them is too optimistic"
        )
    for warning in filter(None, warnings):
        screen().print(warning, markup=False, soft_wrap=True)


def _offer_calibration(app: AppContext, images: ImageSet, run: int) -> None:
    with app.database.reading() as session:
        row = queries.run(session, run)
    command = f"annealq networks calibrate {row.network} --solver {row.solver} --data DATA"
    screen().print(
        f"no calibration of {row.network} for this {row.solver}: defaults are used; fit them with "
        f"--calibrate DATA, or `{command}` (other labelled images, {images.shape.short})",
        markup=False,
        soft_wrap=True,
    )


def estimate(
    request: RunRequest,
    images: ImageSet,
    source: LargeSource | None,
    key: str | None,
    *,
    embedded: bool,
    workers: int | None,
    json: bool,
) -> None:
    """Print what ``request`` for ``images`` would need and cost. No run is enqueued.

    An embedding that is found for it is stored.

    Args:
        source: has the images, if they are read in pieces; ``images`` are its first.
        key: idempotency key; an earlier run with it decides which calibration is used.
        embedded, workers: as for `open_app`.
        json: print one JSON object instead of a table.
    """
    count = len(images.images) if source is None else source.count
    if request.target is not None:
        _print_front(request, images, count, key, json=json)
        return
    check = _checks(request, images, key, source, calibrates=False)
    if not request.solver.is_remote:
        check_database(load(), check)
        costs = reports_solver.free(request.solver, images.name, count)
    else:
        with open_app(embedded=embedded, workers=workers, solver=request.solver, check=check) as app:
            costs = _dry_run(app, request, images, count, key)
    if json:
        print_json(costs)
    else:
        page().print(reports_solver.costs_text(costs))


def _print_front(request: RunRequest, images: ImageSet, count: int, key: str | None, *, json: bool) -> None:
    """Print what the target of ``request`` and other accuracies would take; no worker is asked."""
    with database() as opened:
        network = get_or_install_network(opened, images, request.network)
        match_images(images, network)
        watching.print_network(network.pinned, network.reason)
        promise = jobs.choose_for_target(opened, request, network, count, key).stored
    if json:
        print_json(promise)
    else:
        page().print(reports_parameters.front_text(promise))


def _dry_run(
    app: AppContext, request: RunRequest, images: ImageSet, count: int, key: str | None
) -> dict[str, Any]:
    network = get_or_install_network(app.database, images, request.network)
    match_images(images, network)
    watching.print_network(network.pinned, network.reason)
    completed = jobs.complete_parameters(app.database, request, network.id, network.name, count, key)
    parameters, calibration = completed.parameters, completed.calibration
    watching.print_reads(completed.reads_reason)
    watching.print_calibration_notice(calibration, images, request.asked)

    def prepare(count: int, size: int) -> DryRunSummary:
        solver = request.solver
        preparation = jobs.submit_dry_run(app, network.id, solver, parameters, images=count, batch_size=size)
        return watch_dry_run(app.database, preparation, screen(), app.check)

    size, searched = request.batch_size, None
    if size is None:
        with app.database.reading() as session:
            tiles = tiles_known(session, network.id, request.solver, parameters)
        if tiles is None:
            searched = prepare(0, REMOTE_BATCH_SIZE)
        with app.database.reading() as session:
            size = batch_size(session, network.id, request.solver, parameters, network.shape.nbytes)
    costs = prepare(count, size)
    if searched is not None:  # the second dry run found the embedding that the first one searched
        costs = replace(costs, plan={**costs.plan, **{k: searched.plan[k] for k in ("found", "search_s")}})
    with app.database.reading() as session:
        measured = qpus.measured_accuracies(session, network.id, str(parameters.visible))
    compared = qpus.with_experience(costs.plan["qpus"], measured, request.budget_us)
    costs = replace(costs, plan={**costs.plan, "qpus": compared})
    return reports_solver.costs(costs, images.name, parameters, size)
