"""Enqueues work and notifies the workers: one function for each kind of work, shared by all producers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from sqlalchemy.orm import Session

from producer.calibration import enqueue, reads
from producer.calibration.choice import CalibrationChoice
from producer.calibration.enqueue import calibration_for_rescoring, enqueue_calibration
from producer.calibration.grid import ParameterGrid
from producer.calibration.guarantee import reads_for_sets, refuse_without_guarantee
from producer.context import AppContext
from producer.enqueued import Enqueued
from producer.forecasts import workload
from producer.forecasts.promise import Promise, make_promise, promise_of
from producer.images.imageset import ImageSet
from producer.intake.open import open_intake
from producer.intake.source import LargeSource
from producer.networks.choose import get_or_install_network
from producer.networks.chosen import ChosenNetwork
from producer.networks.training import enqueue_training
from producer.progress.access import require_access
from producer.runs import hints, rescore
from producer.runs.dry_runs import TIME_LIMIT_S, enqueue_dry_run
from producer.runs.enqueue import check_run, enqueue_run, visible_of
from producer.runs.request import RunOptions, RunRequest
from producer.runs.rescore import enqueue_rescored
from schema.database import Database
from schema.messages import Message, Task
from schema.network.architecture import Architecture
from schema.parameters import Origin, Parameters, Solver, Visible
from schema.parameters.batch_sizes import REMOTE_BATCH_SIZE
from schema.quantities import count_text


def submit(
    app: AppContext,
    request: RunRequest,
    images: ImageSet,
    key: str | None = None,
    *,
    choose_network: Callable[[ImageSet, str | None], ChosenNetwork] | None = None,
    submission: Mapping[str, Any] | None = None,
    also: Callable[[Session, int], None] | None = None,
    notify: Callable[[], None] | None = None,
    source: LargeSource | None = None,
    background: bool = False,
) -> tuple[Enqueued, CalibrationChoice | None]:
    """Enqueue a run of ``images`` as ``request`` says, and notify the workers of ``app``.

    Args:
        key: idempotency key; the same key is the same run.
        choose_network: chooses the network for images by its name, instead of `provide`.
        submission: as in `RunOptions`; by default what ``request`` asks besides the content, with a key.
        also: writes more about a new run, given its id, in the same transaction; an error undoes all.
        notify: notifies the workers of a new run, instead of a hint through the broker.
        source: is read in pieces; ``images`` are its first ones. The run has the first batches only, and
            `producer.intake.read_on` adds the others.
        background: processes of the service read on ``source``, not the caller.

    Returns:
        The run, and the calibration that its parameters come from.

    Raises:
        InputError: network, images, parameters or key cannot be used, or no worker can reach the solver; no
            run was written.
    """

    def complete(session: Session, run: int) -> None:
        _require_access(app, session, request.solver)
        if also is not None:
            also(session, run)

    settled = _settle(app.database, request, images, key, choose_network, submission, source)
    what = (settled.network, request.solver, settled.parameters, settled.options, complete)
    if source is None:
        run = enqueue_run(app.database, images, *what)
    else:
        run = open_intake(
            app.database, source, *what, by_reference=source.by_reference, background=background
        )
    if notify is None:
        hints.send(app.settings.broker_url, Message(Task.DISPATCH))
    elif run.created:
        notify()
    return run, settled.calibration


def check(
    database: Database,
    request: RunRequest,
    images: ImageSet,
    key: str | None = None,
    source: LargeSource | None = None,
) -> None:
    """Refuse what `submit` would refuse by ``database`` alone: neither broker nor workers are needed.

    Args:
        request, images, key, source: as for `submit`.

    Raises:
        InputError: as `submit` says.
    """
    settled = _settle(database, request, images, key, source=source)
    what = (settled.network, request.solver, settled.parameters, settled.options)
    check_run(database, images, *what, is_whole=source is None)


@dataclass(frozen=True)
class _Settled:
    """What a request becomes by a database: the network, parameters and options of its run."""

    network: ChosenNetwork
    parameters: Parameters
    calibration: CalibrationChoice | None
    options: RunOptions


def _settle(
    database: Database,
    request: RunRequest,
    images: ImageSet,
    key: str | None,
    choose_network: Callable[[ImageSet, str | None], ChosenNetwork] | None = None,
    submission: Mapping[str, Any] | None = None,
    source: LargeSource | None = None,
) -> _Settled:
    if choose_network is None:
        network = get_or_install_network(database, images, request.network)
    else:
        network = choose_network(images, request.network)
    count = len(images.images) if source is None else source.count
    if request.target is None:
        completed = complete_parameters(database, request, network.id, network.name, count, key)
        promise = None
    else:
        made = choose_for_target(database, request, network, count, key)
        found = enqueue.find_calibration(database, made.calibration)
        completed, promise = CompletedParameters(made.parameters, found), made.stored
    parameters, calibration = completed.parameters, completed.calibration
    with database.reading() as session:
        refuse_without_guarantee(session, network.id, request.solver, parameters, calibration)
    calibrated_by = None if calibration is None else calibration.id
    if key is not None and submission is None:
        submission = {"request": request.besides_content()}
    options = replace(
        request.options(_now(database, request), key, calibrated_by),
        reads_reason=completed.reads_reason,
        promise=promise,
        submission=submission,
    )
    return _Settled(network, parameters, calibration, options)


def check_rescoring(database: Database, run: int, changes: Mapping[str, Any]) -> None:
    """Refuse what `submit_rescoring` would refuse by ``database`` alone: no workers are needed.

    Raises:
        AnnealqError: as `submit_rescoring` says.
    """
    with database.reading() as session:
        rescore.check_rescored(session, run, changes)
        calibration_for_rescoring(session, run, changes)


def _require_access(app: AppContext, session: Session, solver: Solver) -> None:
    if not solver.is_remote:
        return  # any worker samples here, and the database's clock costs a round trip
    now, starts = app.database.now(session), app.starts_workers
    require_access(session, solver, app.settings, now, starts_workers=starts)


def _now(database: Database, request: RunRequest) -> datetime:
    if not request.is_timed:
        return datetime.now(UTC)  # it decides nothing, and costs no transaction
    with database.reading() as session:
        return database.now(session)


@dataclass(frozen=True)
class CompletedParameters:
    """Parameters of a run, the calibration that completes those that were given, and why its reads."""

    parameters: Parameters
    calibration: CalibrationChoice | None = None
    reads_reason: str | None = None  # None: they were not chosen for the run


def complete_parameters(
    database: Database, request: RunRequest, network: int, name: str, images: int, key: str | None = None
) -> CompletedParameters:
    """Return the parameters of a run of ``images``: those of ``request``, completed by a calibration, if any.

    ``database`` has the newest for ``network``, which is called ``name``; a run that exists under ``key`` has
    its own. Without one, visible units are folded on a solver with qubits, which costs a tenth of sampling
    them, and no accuracy. Where reads are chosen for the run, its rounds are, too.
    """
    given, solver = request.given, request.solver
    with database.reading() as session:
        calibration = None
        if request.calibrated:
            calibration = enqueue.choose_calibration(session, network, solver, given, key)
        if calibration is None and solver.is_remote and "visible" not in given:
            given = {**given, "visible": visible_of(session, key) or Visible.FOLDED}
        exists, earlier = reads.reads_of_run(session, key)
    parameters = Parameters.from_dict(given) if calibration is None else calibration.complete(given)
    # An earlier version, or an earlier request without a calibration, had the default.
    usual = not exists or earlier is not None
    if not request.chooses_reads and not (usual and _chooses_by_default(request, calibration)):
        return CompletedParameters(parameters, calibration)
    has_budget = request.budget_us is not None
    with database.reading() as session:
        sets = reads_for_sets(session, network, parameters, calibration, has_budget=has_budget)
    chosen = earlier or _choose_reads(name, solver, parameters, calibration, images, sets)
    return CompletedParameters(replace(parameters, **chosen.parameters()), calibration, chosen.reason)


def _chooses_by_default(request: RunRequest, calibration: CalibrationChoice | None) -> bool:
    """Return whether reads are chosen though ``request`` does not say so: its parameters were compared."""
    if calibration is None or calibration.plans is None or not request.solver.is_remote:
        return False
    return not {"reads", "rounds"} & set(request.asked) and not calibration.differs(request.given)


def _choose_reads(
    name: str,
    solver: Solver,
    parameters: Parameters,
    calibration: CalibrationChoice | None,
    images: int,
    sets: reads.SetReads | None,
) -> reads.ChosenReads:
    command = f"annealq networks calibrate {name} --solver {solver} --data DATA"
    if calibration is None:
        return reads.usual_reads(parameters.visible, command)
    source = (
        f"calibration {calibration.id} on {count_text(calibration.images, 'image')} of {calibration.name}"
    )
    if differing := calibration.differs(parameters.to_dict()):
        source += f", which had another {' and '.join(differing)}"
    if calibration.plans is None:
        number = calibration.parameters["reads"]
        text = f"{count_text(number, 'read')}, by {source}; an earlier version made it and compared no rounds"
        return reads.ChosenReads(number, (), f"{text}: `{command}`")
    return reads.choose_reads(
        calibration.plans, images, parameters.tiles, source, sets, charged=solver.is_remote
    )


def choose_for_target(
    database: Database, request: RunRequest, network: ChosenNetwork, images: int, key: str | None = None
) -> Promise:
    """Return the setting for the target of ``request`` on that many ``images``, and what is promised of it.

    A run of ``database`` that exists under ``key`` has its own.

    Raises:
        ParameterError: as `make_promise` says.
    """
    network.refuse_without(request.given.get("without"))
    with database.reading() as session:
        earlier = None if key is None else promise_of(session, key)
        if earlier is not None:
            return earlier
        waits_s = workload.seconds_ahead(session, request.solver, request.priority)
        return make_promise(session, request, network, images, waits_s, database.now(session))


def submit_dry_run(
    app: AppContext,
    network: int,
    solver: Solver,
    parameters: Parameters,
    *,
    images: int = 0,
    batch_size: int = REMOTE_BATCH_SIZE,
    time_limit_s: float = TIME_LIMIT_S,
) -> int:
    """Ask a worker what a run would need and cost; return the id of the dry run.

    Args:
        app: database and broker.
        network, solver, parameters: those of the run.
        images, batch_size, time_limit_s: as for `enqueue_dry_run`.

    Raises:
        ParameterError: as `enqueue_dry_run` says; nothing was written.
    """
    with app.database.reading() as session:
        _require_access(app, session, solver)
    dry_run = enqueue_dry_run(
        app.database,
        network,
        solver,
        parameters,
        images=images,
        batch_size=batch_size,
        time_limit_s=time_limit_s,
    )
    hints.send(app.settings.broker_url, Message(Task.PREPARE, dry_run))
    return dry_run


def submit_calibration(
    app: AppContext,
    images: ImageSet,
    network: ChosenNetwork,
    solver: Solver,
    grid: ParameterGrid,
    budget_us: int | None = None,
    *,
    key: str | None = None,
    owner: int | None = None,
    also: Callable[[Session, int], None] | None = None,
    notify: Callable[[Message], None] | None = None,
) -> Enqueued:
    """Enqueue a calibration of ``network`` for ``solver``, and notify the workers of ``app``.

    Args:
        images: the labelled validation set.
        grid: parameters that are compared.
        budget_us: QPU time that all of its runs together may be charged, in microseconds; None: any.
        key, owner, also: as for `enqueue_calibration`.
        notify: sends a message to the workers, instead of this call itself.

    Raises:
        InputError: as `enqueue_calibration` says, or no worker can reach the solver; nothing was written.
    """
    with app.database.reading() as session:
        _require_access(app, session, solver)
    calibration = enqueue_calibration(
        app.database, images, network, solver, grid, budget_us, key=key, owner=owner, also=also
    )
    message = Message(Task.PLAN_CALIBRATION, calibration.id)
    if notify is None:
        hints.send(app.settings.broker_url, message)
    elif calibration.created:
        notify(message)
    return calibration


def submit_training(
    app: AppContext,
    architecture: Architecture,
    images: ImageSet,
    *,
    transfer: str,
    seed: int,
    epochs: int | None = None,
    origin: Origin = Origin.TRAINED,
) -> Enqueued:
    """Enqueue the training of a network on ``images``, and notify the workers of ``app``.

    Args:
        architecture, transfer: its layers, and how it becomes an energy function.
        seed: start of the random streams of the training.
        epochs: passes over the images; None: those of the architecture.
        origin: trained for a user, or for an experiment.

    Raises:
        InputError: the images cannot be used; nothing was written.
    """
    network = enqueue_training(
        app.database, architecture, images, transfer=transfer, seed=seed, epochs=epochs, origin=origin
    )
    messages = [Message(Task.TRAIN_NETWORK, network.id)]
    if architecture.backbones:
        messages.append(Message(Task.DISPATCH))  # its vectors come first
    hints.send(app.settings.broker_url, *messages)
    return network


def submit_rescoring(
    app: AppContext,
    run: int,
    changes: Mapping[str, Any],
    also: Callable[[Session, int], None] | None = None,
) -> Enqueued:
    """Enqueue a run that rescores ``run`` with ``changes``, and notify the workers of ``app``.

    ``also`` writes more about the new run, given its id, in the same transaction.

    Raises:
        AnnealqError: as :func:`producer.runs.rescore.enqueue_rescored` says; nothing was written.
    """
    with app.database.reading() as session:
        calibration = calibration_for_rescoring(session, run, changes)
    calibrated_by = None if calibration is None else calibration.id
    rescored = enqueue_rescored(app.database, run, changes, also, calibrated_by)
    with app.database.reading() as session:
        batches = rescore.hinted_batches(session, rescored.id)
    hints.send(app.settings.broker_url, *(Message(Task.AGGREGATE_BATCH, batch) for batch in batches))
    return rescored
