"""The use cases, one for each message. Each reads its rows and goes on from there.

Decide, then persist: numbers are computed outside of transactions, by pure functions, and
stored in one transaction that is guarded by the row's state and fenced by the lease.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any

import structlog
from structlog.contextvars import bind_contextvars

from schema.codecs.corruption import stored_in
from schema.errors import AnnealqError, Corrupt, LeaseLost, Offline, StaleState, StorageError
from schema.messages import Message, Task
from schema.states import BatchState
from schema.tables import Batch, Calibration, Network, Preparation
from worker.compute import calibration as compute_calibration
from worker.compute import scoring, summary, training
from worker.context import Context
from worker.process import shutdown
from worker.process.crash_points import CrashPoint, reach
from worker.process.meter import BatchOutcome, Step
from worker.records import batches, calibrations, dry_runs, leases, runs, trainings
from worker.records.retries import Discard, Retry, decide
from worker.scheduling import circuit_breaker, run_windows
from worker.scheduling.dispatch import choose_batch, dispatch

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from worker.compute.linear_terms import LinearTerms
    from worker.network.trained import TrainedNetwork

log = structlog.get_logger()

_jitter = random.Random()  # noqa: S311 - spreads retries; nothing secret, nothing to reproduce


def sample_batch(context: Context, batch: int) -> None:
    """Claim a batch, draw its reads and store them raw."""
    database, lease_s = context.database, context.settings.lease_s
    with database.transaction() as session:
        now = database.now(session)
        batch = choose_batch(session, batch, context.settings, now=now)
        lease = leases.claim_batch(session, batch, now=now, lease_s=lease_s)
        if lease is None:
            return
        work = batches.load(session, batch)
        if run_windows.defer_outside_window(session, batch, work.run, now=now):
            batches.settle(session, batch, Retry(0.0, "its run's hours are over", counts=False), now=now)
            return
        if _set_aside(session, context, work, now):
            return
        batches.start_run(session, work.run, now=now)
    # Not the batch that the hint named, where another was more urgent.
    bind_contextvars(batch=batch, run=work.run)
    reach(CrashPoint.CLAIMED)
    with _handed_back(context, lease), leases.keep_alive(database, lease, lease_s):
        network = _network(context, work.network)
        parts = scoring.linear_terms(network, work, context.linear_terms)
        if work.solver.is_remote:
            _sample_remotely(context, lease, work, network, parts)
        else:
            _sample_here(context, lease, work, network, parts)
        reach(CrashPoint.SAMPLED)
        log.info("batch sampled", images=work.shape[0], attempt=lease.attempt)
        context.meter.batch(BatchOutcome.SAMPLED)
        context.hints.send([Message(Task.AGGREGATE_BATCH, batch)])
    dispatch(database, context.settings, context.hints)


def _set_aside(session: Session, context: Context, work: batches.BatchInput, now: datetime) -> bool:
    """Hand a batch back whose solver is known not to answer; False where it may be asked."""
    if not work.solver.is_remote:
        return False
    broken = circuit_breaker.find(session, circuit_breaker.solver_key(work.solver, work.parameters.to_dict()))
    if broken is None or not circuit_breaker.is_open(broken, work.batch, context.settings):
        return False
    wait_s = max((broken.retry_at - now).total_seconds(), 0.0)
    batches.settle(session, work.batch, Retry(wait_s, broken.error, counts=False), now=now)
    return True


def _sample_here(
    context: Context,
    lease: leases.Lease,
    work: batches.BatchInput,
    network: TrainedNetwork,
    parts: LinearTerms,
) -> None:
    shutdown.check()
    with context.database.reading() as session:
        kept = bool(batches.load_samples(session, work.batch))
    if kept:  # scoring had failed: what was drawn is scored again
        with _writing(context, lease) as (session, now):
            batches.resume_scoring(session, work, now=now)
        return
    with context.meter.timed(Step.DRAW):
        drawn = scoring.sample_local(network, work, parts, shutdown.check)
    with _writing(context, lease) as (session, now):
        batches.store_samples(
            session, work, drawn.data, variables=drawn.variables, sampling_us=drawn.sampling_us, now=now
        )


def _sample_remotely(
    context: Context,
    lease: leases.Lease,
    work: batches.BatchInput,
    network: TrainedNetwork,
    parts: LinearTerms,
) -> None:
    from worker.remote import sample

    sampled = sample.sample(context, lease, work, network, parts)
    reach(CrashPoint.SAMPLING_ENDED)
    with _writing(context, lease) as (session, now):
        batches.finish_sampling(session, work, sampled, now=now)


def prepare(context: Context, preparation: int) -> None:
    """Claim a preparation: find the solver's graph and an embedding, and work out what a run would cost."""
    from worker.remote import estimate

    database, lease_s = context.database, context.settings.lease_s
    with database.transaction() as session:
        now = database.now(session)
        lease = leases.claim_dry_run(session, preparation, now=now, lease_s=lease_s)
        if lease is None:
            return
        request = dry_runs.load(session, preparation)
    with _handed_back(context, lease), leases.keep_alive(database, lease, lease_s):
        network = _network(context, request.network)

        def report(step: str, fraction: float) -> None:
            with database.transaction() as session:
                dry_runs.report(session, preparation, step, fraction)

        plan = estimate.estimate_dry_run(context, request, network, report)
        with _writing(context, lease) as (session, now):
            dry_runs.store(session, preparation, plan, now=now)


def aggregate_batch(context: Context, batch: int) -> None:
    """Score a sampled batch from its raw sample sets; the last one of a run sends `aggregate_run`."""
    database = context.database
    with database.reading() as session:
        if batches.state_of(session, batch) is not BatchState.SAMPLED:
            return
        work = batches.load(session, batch)
        stored = batches.load_samples(session, batch)
    bind_contextvars(run=work.run)
    try:
        network = _network(context, work.network)
        with context.meter.timed(Step.DECODE):
            rows, chain_breaks = scoring.score(network, work, stored, context.linear_terms)
    except Exception as error:
        if isinstance(error, StorageError) and not isinstance(error, Corrupt):
            raise  # the network could not be read now; the reconciler sends the hint again
        # Scoring is a pure function of stored bytes: what failed once fails always.
        _give_up_scoring(context, batch, error)
        if isinstance(error, AnnealqError):
            return
        raise
    reach(CrashPoint.SCORING)
    try:
        with database.transaction() as session:
            last = batches.store_scores(session, work, rows, chain_breaks, now=database.now(session))
    except StaleState:
        return
    _count_scored(context, rows)
    reach(CrashPoint.SCORED)
    if last:
        context.hints.send([Message(Task.AGGREGATE_RUN, work.run)])


def _count_scored(context: Context, rows: list[batches.Scored]) -> None:
    log.info("batch scored", images=len(rows))
    context.meter.batch(BatchOutcome.SCORED)
    broken = [row.chain_break_fraction for row in rows if row.chain_break_fraction is not None]
    if broken:
        context.meter.chain_breaks(sum(broken) / len(broken))


def aggregate_run(context: Context, run: int) -> None:
    """Compute a run's statistics once all of its batches are at their end, and finish it."""
    database = context.database
    try:
        with database.transaction() as session:
            ready = runs.start_aggregating(session, run, now=database.now(session))
            cancelled = not ready and runs.lacks_statistics(session, run)
        if cancelled:
            _count_cancelled(context, run)
        if not ready:
            return
        with database.reading() as session:
            figures = runs.load_figures(session, run)
        reach(CrashPoint.AGGREGATING)
        statistics = _statistics(run, figures)
        with database.transaction() as session:
            runs.finish(session, run, figures, statistics, now=database.now(session))
            calibration = calibrations.waits_for(session, run)
    except StaleState:
        return
    log.info("run finished", failed_batches=figures.failed_batches)
    reach(CrashPoint.AGGREGATED)
    if calibration is not None:
        context.hints.send([Message(Task.CALIBRATE_NETWORK, calibration)])


def _count_cancelled(context: Context, run: int) -> None:
    """Say what a cancelled run came to, once nothing of it is under way."""
    with context.database.reading() as session:
        figures = runs.load_figures(session, run)
    statistics = _statistics(run, figures)
    with context.database.transaction() as session:
        runs.store_statistics(session, run, statistics)


def _statistics(run: int, figures: runs.Figures) -> dict[str, Any] | Corrupt:
    """Figures of a run, or what is damaged among the bytes that they are made of."""
    try:
        with stored_in(f"run {run}", f"score it again: `annealq runs rescore {run}`"):
            return summary.summarise(figures)
    except Corrupt as error:
        return error


def train_network(context: Context, network: int) -> None:
    """Claim a network that waits for training, train it and store its weights."""
    database, lease_s = context.database, context.settings.lease_s
    with database.transaction() as session:
        lease = leases.claim_network(session, network, now=database.now(session), lease_s=lease_s)
        if lease is None:
            return
        job = trainings.load(session, network)
    with _handed_back(context, lease), leases.keep_alive(database, lease, lease_s):

        def report(epochs: list[dict[str, Any]]) -> None:
            with database.transaction() as session:
                trainings.report(session, network, {"epochs": epochs})
            reach(CrashPoint.TRAINING)

        threads = context.settings.training_threads or os.cpu_count() or 1
        outcome = training.train(job, threads, report, shutdown.check)
        with database.transaction() as session:
            now = database.now(session)
            leases.renew(session, lease, now=now, lease_s=lease_s)
            trainings.store(session, network, outcome, now=now)


def calibrate_network(context: Context, calibration: int) -> None:
    """Claim a calibration whose runs are finished, and choose its parameters by their raw samples."""
    database, lease_s = context.database, context.settings.lease_s
    with database.transaction() as session:
        lease = leases.claim_calibration(session, calibration, now=database.now(session), lease_s=lease_s)
        if lease is None:
            return
        job = calibrations.load(session, calibration)
    with _handed_back(context, lease), leases.keep_alive(database, lease, lease_s):

        def load(batch: int) -> tuple[batches.BatchInput, list[batches.StoredReads]]:
            with database.reading() as session:
                return batches.load(session, batch), batches.load_samples(session, batch)

        network = _network(context, job.network)
        fitted = compute_calibration.calibrate(network, job, load)
        with database.transaction() as session:
            now = database.now(session)
            leases.renew(session, lease, now=now, lease_s=lease_s)
            calibrations.store(session, calibration, fitted, now=now)


def _network(context: Context, network: int) -> TrainedNetwork:
    """Load a network inside of what fails when its stored weights are damaged."""
    with context.database.reading() as session:
        return context.networks.get(session, network)


@contextmanager
def _writing(context: Context, lease: leases.Lease) -> Iterator[tuple[Session, datetime]]:
    """A transaction of a lease's holder, with its time."""
    with context.database.transaction() as session:
        now = context.database.now(session)
        leases.renew(session, lease, now=now, lease_s=context.settings.lease_s)
        yield session, now


@contextmanager
def _handed_back(context: Context, lease: leases.Lease) -> Iterator[None]:
    """Hand a claimed row back when its work fails, or give it up; unforeseen errors are raised on."""
    try:
        yield
    except LeaseLost as error:
        log.warning("work taken over", error=str(error))
        _count(context, lease, BatchOutcome.TAKEN_OVER)
    except Exception as error:
        # Somebody waits for a preparation, and is to know soon that the solver is away.
        patient = lease.table is not Preparation
        decision = decide(error, lease.attempt, context.settings, _jitter, patient=patient)
        log.warning("attempt failed", row=lease.row, attempt=lease.attempt, decision=repr(decision))
        _settle(context, lease, decision, error if isinstance(error, Offline) else None)
        _count(context, lease, _outcome(decision))
        if not isinstance(error, AnnealqError):
            raise


def _count(context: Context, lease: leases.Lease, outcome: BatchOutcome) -> None:
    if lease.table is Batch:
        context.meter.batch(outcome)


def _outcome(decision: Retry | Discard) -> BatchOutcome:
    if isinstance(decision, Discard):
        return BatchOutcome.FAILED
    return BatchOutcome.RETRIED if decision.counts else BatchOutcome.PUT_BACK


def _give_up_scoring(context: Context, batch: int, error: Exception) -> None:
    decision = Discard(f"{type(error).__name__}: {error}")
    log.warning("batch cannot be scored", row=batch, error=decision.error)
    with context.database.transaction() as session:
        now = context.database.now(session)
        finished = batches.settle(session, batch, decision, now=now, source=BatchState.SAMPLED)
    context.meter.batch(BatchOutcome.FAILED)
    if finished is not None:
        context.hints.send([Message(Task.AGGREGATE_RUN, finished)])


def _settle(
    context: Context, lease: leases.Lease, decision: Retry | Discard, offline: Offline | None = None
) -> None:
    """Hand a claimed row back, or give it up. offline: what its solver is put aside for."""
    with context.database.transaction() as session:
        now = context.database.now(session)
        leases.renew(session, lease, now=now, lease_s=context.settings.lease_s)
        if lease.table is Network:
            trainings.settle(session, lease.row, decision, now=now)
            return
        if lease.table is Calibration:
            calibrations.settle(session, lease.row, decision, now=now)
            return
        if lease.table is Preparation:
            dry_runs.settle(session, lease.row, decision, now=now)
            return
        if offline is not None:
            decision = _break(session, context, lease.row, offline, now)
        finished = batches.settle(session, lease.row, decision, now=now)
    if finished is not None:
        context.hints.send([Message(Task.AGGREGATE_RUN, finished)])


def _break(session: Session, context: Context, batch: int, error: Offline, now: datetime) -> Retry:
    """Count a failure of a batch's solver; the batch is due when the solver is to be asked again."""
    work = batches.load(session, batch)
    solver = circuit_breaker.solver_key(work.solver, work.parameters.to_dict())
    retry_at = circuit_breaker.record_failure(
        session, solver, str(error), now=now, settings=context.settings, retry_after_s=error.retry_after_s
    )
    return Retry((retry_at - now).total_seconds(), f"{type(error).__name__}: {error}", counts=False)
