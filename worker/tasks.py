"""The table of tasks: each message calls one use case, with the row that it names."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from schema.database import Database
from schema.messages import Message, Queue, Task, accept, is_newer
from schema.settings import load as load_settings
from schema.settings import load_worker
from worker.celery import app
from worker.context import Context
from worker.pipeline.calibrate import calibrate_network
from worker.pipeline.dry_run import plan_dry_run
from worker.pipeline.energy_histograms import compute_histograms
from worker.pipeline.features.compute_features import compute_features
from worker.pipeline.find_duplicates import find_duplicates
from worker.pipeline.finish_run import finish_run
from worker.pipeline.plan_calibration import plan_calibration
from worker.pipeline.sample_batch import sample_batch
from worker.pipeline.sample_sets.compute import compute_sample_sets
from worker.pipeline.score_batch import score_batch
from worker.pipeline.train import train_network
from worker.process import activity, prometheus, shutdown
from worker.process.hints import CeleryHints
from worker.scheduling.dispatch import dispatch

UseCase = Callable[[Context, int], None]


@cache
def process_context() -> Context:
    """Return this process's context. The first task creates it, so that nothing connects before the fork."""
    database = Database(load_settings().database_url)
    database.require_current()
    settings = load_worker()
    return Context(database, settings, CeleryHints(app), prometheus.meter(settings))


def _register(task: Task, use_case: UseCase, noun: str) -> None:
    """Let messages of ``task`` call ``use_case``; log lines name the row by ``noun``.

    A message of a newer version is passed on unchanged: it may have meanings that this worker does not know.
    """

    @app.task(name=task)
    def run(row: int = 0, version: int = 1, **more: Any) -> None:
        if is_newer(version):
            CeleryHints(app).pass_on(task, {"row": row, "version": version, **more})
            return
        activity.start(task.removeprefix("annealq."), **({noun: row} if row else {}))
        try:
            use_case(process_context(), accept(row, version))
        finally:
            activity.end()


def sample_and_score(context: Context, batch: int) -> None:
    """Sample ``batch`` or a more urgent one in ``context``, and score it: this process knows its features.

    Another worker scores it if this one stops or has no queue of such work.
    """
    sampled = sample_batch(context, batch)
    if sampled is None:
        return
    if Queue.AGGREGATE in app.amqp.queues.consume_from and not shutdown.requested():
        score_batch(context, sampled)
    else:
        context.hints.send([Message(Task.AGGREGATE_BATCH, sampled)])


def _dispatch(context: Context, _row: int) -> None:
    dispatch(context.database, context.settings, context.hints, accounts=context.solvers.account)


_register(Task.DISPATCH, _dispatch, "dispatch")
_register(Task.COMPUTE_FEATURES, compute_features, "feature_set")
_register(Task.SAMPLE_BATCH, sample_and_score, "batch")
_register(Task.AGGREGATE_BATCH, score_batch, "batch")
_register(Task.AGGREGATE_RUN, finish_run, "run")
_register(Task.TRAIN_NETWORK, train_network, "network")
_register(Task.FIND_DUPLICATES, find_duplicates, "run")
_register(Task.PREPARE, plan_dry_run, "preparation")
_register(Task.PLAN_CALIBRATION, plan_calibration, "calibration")
_register(Task.CALIBRATE_NETWORK, calibrate_network, "calibration")
_register(Task.COMPUTE_HISTOGRAMS, compute_histograms, "run")
_register(Task.COMPUTE_SAMPLE_SETS, compute_sample_sets, "run")
