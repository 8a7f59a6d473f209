"""From what a user asked for to a row and its hint: shared by the commands that start work."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from sqlalchemy.orm import Session

from producer.calibration import enqueue
from producer.calibration.enqueue import CalibrationChoice, ParameterGrid, enqueue_calibration
from producer.context import AppContext
from producer.enqueued import Enqueued
from producer.images.imageset import ImageSet
from producer.networks.choose import get_or_install_network
from producer.networks.chosen import ChosenNetwork
from producer.networks.training import enqueue_training
from producer.runs import hints, rescore
from producer.runs.batch_size import REMOTE_BATCH_SIZE
from producer.runs.dry_runs import TIME_LIMIT_S, enqueue_dry_run
from producer.runs.enqueue import enqueue_run
from producer.runs.request import RunRequest
from producer.runs.rescore import enqueue_rescored
from schema.database import Database
from schema.messages import Message, Task
from schema.network.architecture import Architecture
from schema.parameters import Parameters, Solver


def submit(
    app: AppContext,
    request: RunRequest,
    images: ImageSet,
    key: str | None = None,
    *,
    choose_network: Callable[[ImageSet, str | None], ChosenNetwork] | None = None,
    also: Callable[[Session, int], None] | None = None,
    notify: Callable[[], None] | None = None,
) -> tuple[Enqueued, CalibrationChoice | None]:
    """Enqueue a run over ``images`` as ``request`` says, and notify the workers.

    Args:
        key: idempotency key; the same key is the same run.
        choose_network: chooses the network for images by its name, instead of `provide`.
        also: writes more about a new run, given its id, in the same transaction; an error undoes all.
        notify: notifies the workers of a new run, instead of a hint through the broker.

    Returns:
        The run, and the calibration that its parameters come from.

    Raises:
        InputError: network, images, parameters or key cannot be used; no run was written.
    """
    if choose_network is None:
        network = get_or_install_network(app.database, images, request.network)
    else:
        network = choose_network(images, request.network)
    parameters, calibration = complete_parameters(app.database, request, network, key)
    calibrated_by = None if calibration is None else calibration.id
    options = request.options(_now(app.database, request), key, calibrated_by)
    run = enqueue_run(app.database, images, network, request.solver, parameters, options, also)
    if notify is None:
        hints.send(app.settings.broker_url, Message(Task.DISPATCH))
    elif run.created:
        notify()
    return run, calibration


def _now(database: Database, request: RunRequest) -> datetime:
    if not request.is_timed:
        return datetime.now(UTC)  # it decides nothing, and costs no transaction
    with database.reading() as session:
        return database.now(session)


def complete_parameters(
    database: Database, request: RunRequest, network: ChosenNetwork, key: str | None = None
) -> tuple[Parameters, CalibrationChoice | None]:
    """Return the parameters of a run, and the calibration that completed those that ``request`` asks for.

    A run that exists under ``key`` keeps its own calibration; the newest for ``network`` serves others.
    """
    if not request.calibrated:
        return Parameters.from_dict(request.asked), None
    with database.reading() as session:
        fitted = enqueue.choose_calibration(session, network.id, request.solver, request.asked, key)
    return (Parameters.from_dict(request.asked) if fitted is None else fitted.complete(request.asked)), fitted


def submit_dry_run(
    at: AppContext,
    network: int,
    solver: Solver,
    parameters: Parameters,
    *,
    images: int = 0,
    batch_size: int = REMOTE_BATCH_SIZE,
    time_limit_s: float = TIME_LIMIT_S,
) -> int:
    """Ask a worker what a run would need and cost, and say so to the workers; returns the preparation.

    Raises:
        ParameterError: as `enqueue_dry_run` says; nothing was written.
    """
    preparation = enqueue_dry_run(
        at.database,
        network,
        solver,
        parameters,
        images=images,
        batch_size=batch_size,
        time_limit_s=time_limit_s,
    )
    hints.send(at.settings.broker_url, Message(Task.PREPARE, preparation))
    return preparation


def submit_calibration(
    at: AppContext, images: ImageSet, network: str | None, solver: Solver, grid: ParameterGrid
) -> tuple[Enqueued, int]:
    """Enqueue a calibration and say so to the workers.

    Returns it, and how many of its images the network was trained on. Raises as `submit` does.
    """
    chosen = get_or_install_network(at.database, images, network)
    with at.database.reading() as session:
        known = enqueue.count_trained_on(session, chosen.id, images)
    calibration = enqueue_calibration(at.database, images, chosen, solver, grid)
    hints.send(at.settings.broker_url, Message(Task.DISPATCH))
    return calibration, known


def submit_training(
    at: AppContext,
    architecture: Architecture,
    images: ImageSet,
    *,
    transfer: str,
    seed: int,
    epochs: int | None = None,
) -> Enqueued:
    """Enqueue a network's training and say so to the workers.

    Raises:
        InputError: the images cannot be used; nothing was written.
    """
    network = enqueue_training(at.database, architecture, images, transfer=transfer, seed=seed, epochs=epochs)
    hints.send(at.settings.broker_url, Message(Task.TRAIN_NETWORK, network.id))
    return network


def submit_rescoring(at: AppContext, run: int, changes: Mapping[str, Any]) -> Enqueued:
    """Enqueue a run that scores another one's raw samples again, and say so to the workers.

    Raises:
        AnnealqError: as :func:`producer.runs.rescore.enqueue_rescored` says; nothing was written.
    """
    again = enqueue_rescored(at.database, run, changes)
    with at.database.reading() as session:
        batches = rescore.hinted_batches(session, again.id)
    hints.send(at.settings.broker_url, *(Message(Task.AGGREGATE_BATCH, batch) for batch in batches))
    return again
