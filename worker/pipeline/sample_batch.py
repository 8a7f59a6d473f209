"""Samples a batch: claims it, draws its reads on its solver and stores them raw."""

from __future__ import annotations

from datetime import datetime

import structlog
from sqlalchemy.orm import Session

from schema.database.crash_points import CrashPoint, reach
from schema.database.feature_requests import WAITS
from schema.tables import Batch
from worker.annealers import local
from worker.compute import scoring
from worker.compute.linear_terms import LinearTerms
from worker.context import Context
from worker.network.trained import TrainedNetwork
from worker.pipeline.attempt import attempt, load_network, writing
from worker.pipeline.features.inputs import with_inputs
from worker.process import activity, shutdown
from worker.process.meter import BatchOutcome, Step, Wait
from worker.records import batches, claims, problems
from worker.records.attempts import finish_attempt
from worker.records.batches import BatchInput
from worker.records.features import waiting
from worker.records.leases import Lease
from worker.records.retries import Retry
from worker.scheduling import circuit_breaker, run_windows
from worker.scheduling.dispatch import choose_batch, dispatch

log = structlog.get_logger()


def sample_batch(context: Context, batch: int) -> int | None:
    """Claim ``batch`` or a more urgent one in ``context``, draw its reads and store them raw.

    Returns:
        The batch that was sampled; None: none was.
    """
    claimed = _claim(context, batch)
    if claimed is None:
        return None
    lease, batch_input = claimed
    sampled = None
    # The claimed batch is not the one that the hint named if another was more urgent.
    activity.concern(batch=batch_input.batch, run=batch_input.run)
    reach(CrashPoint.CLAIMED)
    with attempt(context, lease):
        network = load_network(context, batch_input.network, batch_input.parameters)
        with context.database.reading() as session:
            batch_input = with_inputs(session, context.backbones, batch_input, network.architecture)
        terms = scoring.linear_terms(network, batch_input, context.linear_terms)
        sample = _sample_remotely if batch_input.solver.is_remote else _sample_here
        sample(context, lease, batch_input, network, terms)
        reach(CrashPoint.SAMPLED)
        log.info("batch sampled", images=batch_input.count, attempt=lease.attempt)
        context.meter.batch(BatchOutcome.SAMPLED)
        sampled = batch_input.batch
    dispatch(context.database, context.settings, context.hints, accounts=context.solvers.account)
    return sampled


def _claim(context: Context, batch: int) -> tuple[Lease, BatchInput] | None:
    """Claim ``batch`` or a more urgent one, unless its run's window or its solver's breaker defers it."""
    with context.database.transaction() as session:
        now = context.database.now(session)
        batch = choose_batch(session, batch, context.settings, context.solvers.account, now=now)
        lease = claims.claim_batch(session, batch, now=now, lease_s=context.settings.lease_s)
        if lease is None:
            return None
        batch_input = batches.load(session, batch)
        retry = _defer(session, context, batch_input, now)
        if retry is not None:
            finish_attempt(session, Batch, batch, retry, now=now)
            return None
        batches.start_run(session, batch_input.run, now=now)
    context.meter.waited(Wait.QUEUE, (now - batch_input.due_at).total_seconds())
    return lease, batch_input


def _defer(session: Session, context: Context, batch_input: BatchInput, now: datetime) -> Retry | None:
    """Return when to try again if the batch must not be sampled now, else None."""
    if run_windows.defer_outside_window(session, batch_input.batch, batch_input.run, now=now):
        return Retry(0.0, "its run's window is closed or its deadline has passed", counts=False)
    if waiting.is_unfinished(session, batch_input.batch):
        return Retry(WAITS.total_seconds(), "its feature vectors are being computed", counts=False)
    if not batch_input.solver.is_remote:
        return None
    # Of several QPUs none is chosen yet: their own breakers count when one is.
    key = batch_input.solver_keys[0]
    broken = circuit_breaker.find(session, key, context.solvers.account(batch_input.solver))
    if broken is None or not circuit_breaker.is_open(broken, batch_input.batch, context.settings):
        return None
    if problems.has_awaited(session, batch_input.batch):
        return None  # it only collects what was submitted before
    return Retry(max((broken.retry_at - now).total_seconds(), 0.0), broken.error, counts=False)


def _sample_here(
    context: Context, lease: Lease, batch_input: BatchInput, network: TrainedNetwork, terms: LinearTerms
) -> None:
    shutdown.check()
    with context.database.reading() as session:
        is_stored = bool(batches.load_samples(session, batch_input.batch))
    if is_stored:  # scoring failed earlier: the stored samples are scored again
        with writing(context, lease) as (session, now):
            batches.resume_scoring(session, batch_input, now=now)
        return
    with context.meter.timed(Step.DRAW):
        drawn = local.draw_reads(
            local.local_annealer(batch_input.solver, batch_input.parameters),
            batch_input.parameters,
            terms.model,
            terms.take(slice(None)),
            batch_input.first_image,
            network.architecture.alpha,
            shutdown.check,
        )
    with writing(context, lease) as (session, now):
        batches.store_samples(
            session,
            batch_input,
            drawn.data,
            variables=drawn.variables,
            sampling_us=drawn.sampling_us,
            now=now,
        )


def _sample_remotely(
    context: Context, lease: Lease, batch_input: BatchInput, network: TrainedNetwork, terms: LinearTerms
) -> None:
    from worker.qpus.giving import give_batch
    from worker.remote import submission

    batch_input = give_batch(context, lease, batch_input, network)
    sampled = submission.sample_batch(context, lease, batch_input, network, terms)
    reach(CrashPoint.SAMPLING_ENDED)
    with writing(context, lease) as (session, now):
        batches.finish_sampling(session, batch_input, sampled, now=now)
