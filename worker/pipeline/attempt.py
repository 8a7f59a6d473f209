"""An attempt at leased work: claim a row, renew its lease, write under it, release it after a failure."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from datetime import datetime
from typing import TypeVar

import structlog
from sqlalchemy.orm import Session

from schema.errors import (
    AnnealqError,
    Deferred,
    LeaseLost,
    NoAccess,
    Offline,
    ProblemFailed,
    Refused,
    StorageError,
    Uncertain,
)
from schema.messages import Message, Task
from schema.parameters import Parameters
from schema.tables import Batch, CalibrationPlan, Preparation
from worker.context import Context
from worker.network.trained import TrainedNetwork
from worker.process.meter import BatchOutcome
from worker.records import batches, claims, leases
from worker.records.attempts import discard_pending, finish_attempt
from worker.records.leases import Lease, SimplyClaimed
from worker.records.retries import Discard, Retry, decide
from worker.scheduling import circuit_breaker

Job = TypeVar("Job")

log = structlog.get_logger()

_jitter = random.Random()  # noqa: S311 - spreads retries; nothing secret, nothing to reproduce


def claim(
    context: Context, table: SimplyClaimed, row: int, load: Callable[[Session, int], Job]
) -> tuple[Lease, Job] | None:
    """Claim ``row`` of ``table`` in ``context`` and ``load`` its job; return None if it is not due."""
    with context.database.transaction() as session:
        now = context.database.now(session)
        lease = claims.claim(session, table, row, now=now, lease_s=context.settings.lease_s)
        return None if lease is None else (lease, load(session, row))


@contextmanager
def attempt(context: Context, lease: Lease) -> Iterator[None]:
    """Renew ``lease`` in ``context`` while the body works; if it fails, release the row or mark it failed.

    Raises:
        Exception: an unforeseen error of the body, after the row was released.
    """
    try:
        with leases.keep_alive(context.database, lease, context.settings.lease_s):
            yield
    except LeaseLost as error:
        log.warning("work taken over", error=str(error))
        _count(context, lease, BatchOutcome.TAKEN_OVER)
    except Exception as error:
        # A user waits for a dry run, and should soon learn that the solver is offline.
        patient = lease.table is not Preparation
        decision = decide(error, lease.attempt, context.settings, _jitter, patient=patient)
        # What concerns a whole solver is logged once, when its circuit breaker opens.
        level = logging.INFO if isinstance(error, Offline | Deferred) and patient else logging.WARNING
        log.log(level, "attempt failed", row=lease.row, attempt=lease.attempt, decision=repr(decision))
        whole_run = isinstance(error, Refused) and error.whole_run
        try:
            _finish(context, lease, decision, error if _concerns_solver(error) else None, whole_run=whole_run)
        except StorageError as unwritten:
            # The lease runs out, and the reconciler gives the row to another attempt.
            log.warning("attempt not recorded", row=lease.row, error=str(unwritten))
            return
        _count(context, lease, _outcome(decision))
        if not isinstance(error, AnnealqError):
            raise


def writing(context: Context, lease: Lease) -> AbstractContextManager[tuple[Session, datetime]]:
    """Open a transaction in ``context`` that first renews ``lease``."""
    return leases.transaction(context.database, lease, context.settings.lease_s)


def load_network(context: Context, network: int, parameters: Parameters | None = None) -> TrainedNetwork:
    """Load ``network`` in ``context``, inside of an attempt: it fails if the stored weights are damaged.

    It is without the sources that ``parameters`` of a run leave out.
    """
    with context.database.reading() as session:
        loaded = context.networks.get(session, network)
    return loaded if parameters is None else loaded.leaving_out(parameters.without)


def _concerns_solver(error: Exception) -> bool:
    """Return whether the whole solver may be at fault: it is offline, or a problem failed and none worked."""
    if isinstance(error, Uncertain):
        return error.wait_s is None and not error.progressed
    return isinstance(error, Offline) or (isinstance(error, ProblemFailed) and not error.progressed)


def _finish(
    context: Context,
    lease: Lease,
    decision: Retry | Discard,
    failure: Exception | None,
    *,
    whole_run: bool = False,
) -> None:
    """Release a row or mark it failed; count the ``failure`` of a batch's solver.

    If the ``whole_run`` of a batch is at fault, its other batches are not tried one by one.
    """
    with writing(context, lease) as (session, now):
        if failure is not None and lease.table is Batch and isinstance(decision, Retry):
            decision = _record_failure(session, context, lease.row, failure, decision, now)
        run = finish_attempt(session, lease.table, lease.row, decision, now=now)
        if whole_run and run is None and lease.table is Batch:
            run = discard_pending(session, lease.row, decision.error, now=now)
    if run is not None:
        context.hints.send([Message(Task.AGGREGATE_RUN, run)])
    elif lease.table is CalibrationPlan and isinstance(decision, Discard):
        context.hints.send([Message(Task.CALIBRATE_NETWORK, lease.row)])  # it fails, too
    elif lease.table is Batch and isinstance(decision, Discard):
        context.hints.send([Message(Task.AGGREGATE_BATCH, lease.row)])  # it may have answers


def _record_failure(
    session: Session, context: Context, batch: int, error: Exception, decision: Retry, now: datetime
) -> Retry:
    """Count a failure of a batch's solver; the batch is due when the solver may be asked again."""
    batch_input = batches.load(session, batch)
    retry_at = circuit_breaker.record_failure(
        session,
        batch_input.solver_keys[0],
        context.solvers.account(batch_input.solver),
        str(error),
        batch=batch,
        now=now,
        settings=context.settings,
        retry_after_s=error.retry_after_s if isinstance(error, Offline) else None,
        opens=isinstance(error, NoAccess),
    )
    if batch_input.is_shared and batch_input.qpu is not None and isinstance(error, Offline):
        return replace(decision, seconds=0.0)  # another QPU takes it, or the attempt says that none does
    wait = (retry_at - now).total_seconds()
    return replace(decision, seconds=wait if isinstance(error, Offline) else max(wait, decision.seconds))


def _count(context: Context, lease: Lease, outcome: BatchOutcome) -> None:
    if lease.table is Batch:
        context.meter.batch(outcome)


def _outcome(decision: Retry | Discard) -> BatchOutcome:
    if isinstance(decision, Discard):
        return BatchOutcome.FAILED
    return BatchOutcome.RETRIED if decision.counts else BatchOutcome.PUT_BACK
