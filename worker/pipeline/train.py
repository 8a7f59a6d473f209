"""Trains a network and stores its weights."""

from __future__ import annotations

import os
from typing import Any

from schema.codecs import arrays
from schema.database.crash_points import CrashPoint, reach
from schema.errors import BackboneError
from schema.tables import Network
from worker.compute import training
from worker.context import Context
from worker.pipeline.attempt import attempt, claim, writing
from worker.process import shutdown
from worker.records import networks
from worker.records.attempts import complete_attempt


def train_network(context: Context, network: int) -> None:
    """Claim ``network`` in ``context``, if it waits for training, train it and store its weights."""
    claimed = claim(context, Network, network, networks.load_training)
    if claimed is None:
        return
    lease, job = claimed

    def report(epochs: list[dict[str, Any]]) -> None:
        with context.database.transaction() as session:
            networks.report_training(session, network, {"epochs": epochs})
        reach(CrashPoint.TRAINING)

    with attempt(context, lease):
        with context.database.reading() as session:
            if (failure := networks.feature_failure(session, network)) is not None:
                raise BackboneError(failure)
        threads = context.settings.training_threads or os.cpu_count() or 1
        trained = training.train(job, threads, report, shutdown.check)
        with writing(context, lease) as (session, now):
            values = {"weights": trained.weights, "weights_sha256": arrays.checksum(trained.weights)}
            complete_attempt(session, Network, network, now=now, metrics=trained.metrics, **values)
