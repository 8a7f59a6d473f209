"""One short function for each message: validate its arguments, call the use case."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import structlog

from schema.database import Database
from schema.messages import Task, accept, is_newer
from schema.settings import load as load_settings
from worker import pipeline
from worker.celery import app
from worker.context import Context
from worker.process import prometheus
from worker.process.hints import CeleryHints
from worker.process.settings import load as load_worker_settings
from worker.scheduling.dispatch import dispatch as send_due

UseCase = Callable[[Context, int], None]


@cache
def context() -> Context:
    """This process's context; the first task makes it, so it is always younger than the fork."""
    database = Database(load_settings().database_url)
    database.require_current()
    settings = load_worker_settings()
    return Context(database, settings, CeleryHints(app), prometheus.meter(settings))


def _register(task: Task, use_case: UseCase, noun: str) -> None:
    """Let messages of a task lead to a use case; log lines name its row by ``noun``.

    A message of a newer version may say more than we know: it is passed on whole, and not looked at.
    """

    @app.task(name=task)
    def run(row: int = 0, version: int = 1, **more: Any) -> None:
        if is_newer(version):
            CeleryHints(app).pass_on(task, {"row": row, "version": version, **more})
            return
        # Left bound until the next message, so that Celery's own line at the end of the task has them too.
        structlog.contextvars.clear_contextvars()
        if row:
            structlog.contextvars.bind_contextvars(**{noun: row})
        use_case(context(), accept(row, version))


def _dispatch(at: Context, _row: int) -> None:
    send_due(at.database, at.settings, at.hints)


_register(Task.DISPATCH, _dispatch, "dispatch")
_register(Task.SAMPLE_BATCH, pipeline.sample_batch, "batch")
_register(Task.AGGREGATE_BATCH, pipeline.aggregate_batch, "batch")
_register(Task.AGGREGATE_RUN, pipeline.aggregate_run, "run")
_register(Task.TRAIN_NETWORK, pipeline.train_network, "network")
_register(Task.PREPARE, pipeline.prepare, "preparation")
_register(Task.CALIBRATE_NETWORK, pipeline.calibrate_network, "calibration")
