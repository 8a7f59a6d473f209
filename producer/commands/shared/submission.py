"""What `classify` asks for: sent as a run, or worked out as a dry run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from producer import jobs
from producer.commands.shared import watching
from producer.commands.shared.session import work
from producer.context import AppContext
from producer.images.imageset import ImageSet
from producer.networks import provide
from producer.networks.compatibility import fit
from producer.reports import solver as reports_solver
from producer.reports.progress import watch_dry_run
from producer.reports.terminal import page, print_json, screen
from producer.runs import batch_size
from producer.runs.dry_runs import PreparationSummary
from producer.runs.enqueue import RunOptions
from schema.parameters import Parameters, Solver


@dataclass(frozen=True, eq=False)
class Submission:
    """Images and how to classify them. asked: the parameters that were given, by name."""

    images: ImageSet
    network: str | None
    solver: Solver
    asked: Mapping[str, Any]
    options: RunOptions
    calibrated: bool

    @property
    def needs_emulator(self) -> bool:
        return self.solver is Solver.EMULATOR


def send(job: Submission, *, embedded: bool, workers: int | None, detach: bool, json: bool) -> None:
    """Enqueue a run; watch it and print what came out, unless it is to be left alone."""
    with work(embedded=embedded, workers=workers, emulator=job.needs_emulator) as at:
        if job.calibrated:
            run, fitted = jobs.submit_calibrated(
                at, job.images, job.network, job.solver, job.asked, job.options
            )
            watching.tell_calibration(fitted, job.images, job.asked)
        else:
            parameters = Parameters.from_dict(job.asked)
            run = jobs.submit(at, job.images, job.network, job.solver, parameters, job.options)
        if detach:
            watching.show_enqueued(run, json=json)
            return
        watching.watch_and_show(at, run.id, json=json)


def estimate(job: Submission, *, embedded: bool, workers: int | None, json: bool) -> None:
    """Print what the run would need and cost; no run is enqueued, but an embedding found now is kept."""
    if not job.solver.is_remote:
        costs = reports_solver.free(job.solver, job.images.name, len(job.images.images))
    else:
        with work(embedded=embedded, workers=workers, emulator=job.needs_emulator) as at:
            costs = _plan(at, job)
    if json:
        print_json(costs)
    else:
        page().print(reports_solver.costs_text(costs))


def _plan(at: AppContext, job: Submission) -> dict[str, Any]:
    network = provide.provide(at.database, job.images, job.network)
    fit(job.images, network)
    parameters = Parameters.from_dict(job.asked)
    if job.calibrated:
        parameters, fitted = jobs.complete(at.database, network, job.solver, job.asked, job.options.key)
        watching.tell_calibration(fitted, job.images, job.asked)
    size, found = job.options.batch_size, None
    if size is None:
        with at.database.reading() as session:
            if batch_size.tiles_known(session, network.id, job.solver, parameters) is None:
                found = _prepare(at, job, network.id, parameters)
        with at.database.reading() as session:
            size = batch_size.batch_size(session, network.id, job.solver, parameters)
    costs = _prepare(at, job, network.id, parameters, size)
    if found is not None:  # the second time nothing was searched
        searched = {name: found.plan[name] for name in ("found", "search_s")}
        costs = replace(costs, plan={**costs.plan, **searched})
    return reports_solver.costs(costs, job.images.name, parameters, size)


def _prepare(
    at: AppContext, job: Submission, network: int, parameters: Parameters, size: int | None = None
) -> PreparationSummary:
    """What a run in batches of this size would take; without a size, only its embedding."""
    preparation = jobs.submit_preparation(
        at,
        network,
        job.solver,
        parameters,
        images=0 if size is None else len(job.images.images),
        batch_size=size or batch_size.REMOTE_BATCH_SIZE,
    )
    return watch_dry_run(at.database, preparation, screen(), at.check)
