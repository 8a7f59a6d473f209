"""From what a user asked for to a row and its hint: shared by the commands that start work."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from producer.calibration import enqueue
from producer.calibration.enqueue import CalibrationChoice, ParameterGrid, enqueue_calibration
from producer.context import AppContext
from producer.enqueued import Enqueued
from producer.images.imageset import ImageSet
from producer.networks.choose import ChosenNetwork
from producer.networks.provide import provide
from producer.networks.training import enqueue_training
from producer.runs import hints, rescore
from producer.runs.batch_size import REMOTE_BATCH_SIZE
from producer.runs.dry_runs import TIME_LIMIT_S, enqueue_preparation
from producer.runs.enqueue import RunOptions, enqueue_run
from producer.runs.rescore import enqueue_rescored
from schema.database import Database
from schema.messages import Message, Task
from schema.network.architecture import Architecture
from schema.parameters import Parameters, Solver


def submit(
    at: AppContext,
    images: ImageSet,
    network: str | None,
    solver: Solver,
    parameters: Parameters,
    options: RunOptions | None = None,
) -> Enqueued:
    """Enqueue a run and say so to the workers.

    Raises:
        InputError: network, images or key cannot be used; no run was written.
    """
    chosen = provide(at.database, images, network)
    run = enqueue_run(at.database, images, chosen, solver, parameters, options)
    hints.send(at.settings.broker_url, Message(Task.DISPATCH))
    return run


def submit_calibrated(
    at: AppContext,
    images: ImageSet,
    network: str | None,
    solver: Solver,
    asked: Mapping[str, Any],
    options: RunOptions,
) -> tuple[Enqueued, CalibrationChoice | None]:
    """Enqueue a run with the newest calibration's parameters where the user asked for no others.

    Returns the run, and the calibration that it uses. Raises as `submit` does.
    """
    chosen = provide(at.database, images, network)
    parameters, fitted = complete(at.database, chosen, solver, asked, options.key)
    if fitted is not None:
        options = replace(options, calibrated_by=fitted.id)
    run = enqueue_run(at.database, images, chosen, solver, parameters, options)
    hints.send(at.settings.broker_url, Message(Task.DISPATCH))
    return run, fitted


def complete(
    database: Database, network: ChosenNetwork, solver: Solver, asked: Mapping[str, Any], key: str | None
) -> tuple[Parameters, CalibrationChoice | None]:
    """What was asked for, with the rest from the calibration for a run with this key, where there is one."""
    with database.reading() as session:
        fitted = enqueue.choose(session, network.id, solver, asked, key)
    return (Parameters.from_dict(asked) if fitted is None else fitted.complete(asked)), fitted


def submit_preparation(
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
        ParameterError: as `enqueue_preparation` says; nothing was written.
    """
    preparation = enqueue_preparation(
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
    chosen = provide(at.database, images, network)
    with at.database.reading() as session:
        known = enqueue.trained_on(session, chosen.id, images)
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
        batches = rescore.hinted(session, again.id)
    hints.send(at.settings.broker_url, *(Message(Task.AGGREGATE_BATCH, batch) for batch in batches))
    return again
