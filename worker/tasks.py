"""One short function for each message: validate its arguments, call the use case."""

from __future__ import annotations

from functools import cache

import structlog

from schema.database import Database
from schema.messages import Task, accept
from schema.settings import load as load_settings
from worker import pipeline
from worker.celery import app
from worker.context import Context
from worker.dispatch import dispatch as send_due
from worker.hints import CeleryHints
from worker.settings import load as load_worker_settings


@cache
def context() -> Context:
    """This process's context; the first task makes it, so it is always younger than the fork."""
    database = Database(load_settings().database_url)
    database.require_current()
    return Context(database, load_worker_settings(), CeleryHints(app))


@app.task(name=Task.DISPATCH)
def dispatch(row: int = 0, version: int = 1) -> None:
    accept(row, version)
    send_due(context().database, context().settings, context().hints)


@app.task(name=Task.SAMPLE_BATCH)
def sample_batch(row: int, version: int = 1) -> None:
    with structlog.contextvars.bound_contextvars(batch=row):
        pipeline.sample_batch(context(), accept(row, version))


@app.task(name=Task.AGGREGATE_BATCH)
def aggregate_batch(row: int, version: int = 1) -> None:
    with structlog.contextvars.bound_contextvars(batch=row):
        pipeline.aggregate_batch(context(), accept(row, version))


@app.task(name=Task.AGGREGATE_RUN)
def aggregate_run(row: int, version: int = 1) -> None:
    with structlog.contextvars.bound_contextvars(run=row):
        pipeline.aggregate_run(context(), accept(row, version))


@app.task(name=Task.TRAIN_NETWORK)
def train_network(row: int, version: int = 1) -> None:
    with structlog.contextvars.bound_contextvars(network=row):
        pipeline.train_network(context(), accept(row, version))


@app.task(name=Task.PREPARE)
def prepare(row: int, version: int = 1) -> None:
    with structlog.contextvars.bound_contextvars(preparation=row):
        pipeline.prepare(context(), accept(row, version))


@app.task(name=Task.CALIBRATE_NETWORK)
def calibrate_network(row: int, version: int = 1) -> None:
    with structlog.contextvars.bound_contextvars(calibration=row):
        pipeline.calibrate_network(context(), accept(row, version))
