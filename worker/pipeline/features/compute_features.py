"""Computes the feature vectors of a batch or a training set by a backbone, and stores them part by part."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

import numpy as np
import structlog
from numpy.typing import NDArray

from schema.database.crash_points import CrashPoint, reach
from schema.messages import Message, Task
from schema.tables import FeatureSet
from worker.backbones.session import BackboneSession
from worker.context import Context
from worker.pipeline.attempt import attempt, writing
from worker.pipeline.features.vectors import decode_pictures, vectors_of
from worker.process import shutdown
from worker.records import batches, claims
from worker.records.attempts import complete_attempt
from worker.records.features import feature_sets, waiting
from worker.records.features.feature_sets import FeatureJob
from worker.records.leases import Lease
from worker.scheduling.dispatch import dispatch

_PART = 512  # pictures: that many are computed again at most after a crash

log = structlog.get_logger()


def compute_features(context: Context, feature_set: int) -> None:
    """Claim ``feature_set`` or a more urgent one in ``context``, and compute and store what it lacks."""
    claimed = _claim(context, feature_set)
    if claimed is None:
        return
    lease, job = claimed
    reach(CrashPoint.FEATURES_CLAIMED)
    with attempt(context, lease):
        seconds, computed = _compute(context, lease, job)
        with writing(context, lease) as (session, now):
            values = {"seconds": seconds, "computed": computed}
            complete_attempt(session, FeatureSet, job.feature_set, now=now, **values)
            waiting.wake(session, job.feature_set, now=now)
        reach(CrashPoint.FEATURES_STORED)
        log.info("features computed", images=computed, of=job.count, seconds=round(seconds, 3))
        context.meter.features(computed, seconds)
    _notify(context, job.feature_set)


def _claim(context: Context, feature_set: int) -> tuple[Lease, FeatureJob] | None:
    with context.database.transaction() as session:
        now = context.database.now(session)
        chosen = waiting.choose(session, feature_set)
        lease = claims.claim(session, FeatureSet, chosen, now=now, lease_s=context.settings.lease_s)
        if lease is None:
            return None
        for run in waiting.queued_runs(session, chosen):
            batches.start_run(session, run, now=now)
        return lease, feature_sets.load_job(session, chosen)


def _compute(context: Context, lease: Lease, job: FeatureJob) -> tuple[float, int]:
    """Compute and store the parts that are missing; return processor seconds, and the number of vectors."""
    threads = (context.settings.training_threads or os.cpu_count() or 1) if job.of_training else 1
    with context.database.reading() as session:
        done = feature_sets.stored_until(session, job.feature_set)
        backbone = context.backbones.get(session, job.backbone, threads)
        pictures = decode_pictures(feature_sets.load_pictures(session, job))
    start, first_done = time.process_time(), done
    for first, vectors in _parts(backbone, job, pictures, done):
        with writing(context, lease) as (session, _):
            feature_sets.store_part(session, job.feature_set, first, vectors)
        reach(CrashPoint.FEATURES_PART)
    return time.process_time() - start, job.count - first_done


def _parts(
    backbone: BackboneSession, job: FeatureJob, pictures: NDArray[np.uint8], done: int
) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Yield the first picture and the vectors of each part after the first ``done`` pictures."""
    for first in range(done, job.count, _PART):
        yield first, vectors_of(backbone, job.recipe, pictures[first : first + _PART], shutdown.check)


def _notify(context: Context, feature_set: int) -> None:
    """Send hints for what waited for ``feature_set``, and for further sets."""
    with context.database.reading() as session:
        networks = waiting.waiting_networks(session, feature_set)
    context.hints.send(Message(Task.TRAIN_NETWORK, network) for network in networks)
    dispatch(context.database, context.settings, context.hints, accounts=context.solvers.account)
