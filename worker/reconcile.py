"""The reconciler: its own small process that repairs what crashes and lost messages leave behind.

    python -m worker.reconcile

It never travels through the broker that it repairs. Several may run; the holder of a lease in SQL
works and the others wait. Every pass is safe to run twice at once: each move is guarded.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import uuid
from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime, timedelta
from types import FrameType

import structlog
from sqlalchemy import ColumnElement, and_, or_, select, update
from sqlalchemy.orm import Session

from schema.database import Database, leader_lease
from schema.errors import ParameterError, StaleState, StorageError
from schema.messages import QUEUE_OF, Message, Queue, Task
from schema.settings import load as load_settings
from schema.states import BatchState, CalibrationState, NetworkState, PreparationState, RunState
from schema.tables import Batch, Calibration, Network, Preparation, Run
from worker.process.crash_points import CrashPoint, reach
from worker.process.hints import CeleryHints, Hints
from worker.process.logs import configure
from worker.process.settings import WorkerSettings
from worker.process.settings import load as load_worker_settings
from worker.records import batches, calibrations, dry_runs, leases, runs, trainings
from worker.records.retries import Discard, Retry
from worker.scheduling import due_schedules, run_windows
from worker.scheduling.dispatch import dispatch

_AT_ONCE = 500  # rows repaired in one transaction; the next pass takes the rest

# What each message waits for. Batches to sample are chosen by `dispatch`, by priority; but not those of runs
# that were paused or cancelled, which have only left something with their solver.
_READY: dict[Task, tuple[leases.HintedTable | type[Run], ColumnElement[bool]]] = {
    Task.AGGREGATE_BATCH: (Batch, Batch.state == BatchState.SAMPLED),
    Task.SAMPLE_BATCH: (Batch, and_(Batch.state == BatchState.PENDING, leases.left_in_flight())),
    Task.TRAIN_NETWORK: (Network, Network.state == NetworkState.QUEUED),
    Task.AGGREGATE_RUN: (
        Run,
        or_(
            and_(
                Run.state.in_([RunState.RUNNING, RunState.PAUSED, RunState.AGGREGATING]),
                Run.batches_scored + Run.batches_failed == Run.batches,
            ),
            runs.awaits_statistics(),
        ),
    ),
    Task.CALIBRATE_NETWORK: (Calibration, leases.calibration_due()),
    Task.PREPARE: (Preparation, Preparation.state == PreparationState.QUEUED),
}
_TASKS_OF = {queue: [task for task in _READY if QUEUE_OF[task] is queue] for queue in Queue}

log = structlog.get_logger()


def lead(session: Session, holder: str, *, now: datetime, lease_s: float) -> bool:
    """Take or prolong the leader's lease; False while another holder's is valid."""
    return leader_lease.lead(session, leader_lease.RECONCILER, holder, now=now, lease_s=lease_s)


def expire(session: Session, *, now: datetime, settings: WorkerSettings) -> list[Message]:
    """Hand back what a silent worker held; give it up after its last attempt."""
    hints: list[Message] = []
    silent = select(Batch.id, Batch.attempts).where(
        Batch.state == BatchState.SAMPLING, Batch.lease_until < now
    )
    back: dict[int, list[int]] = defaultdict(list)  # by attempt
    for batch, attempts in session.execute(silent.limit(_AT_ONCE)).all():
        decision = _after_silence(attempts, settings)
        if isinstance(decision, Retry):
            back[attempts].append(batch)
        elif (run := batches.settle(session, batch, decision, now=now)) is not None:
            hints.append(Message(Task.AGGREGATE_RUN, run))
    for attempts, held in back.items():
        batches.release(session, held, _after_silence(attempts, settings).error, now=now)
    trainers = select(Network.id, Network.attempts).where(
        Network.state == NetworkState.TRAINING, Network.lease_until < now
    )
    for network, attempts in session.execute(trainers.limit(_AT_ONCE)).all():
        trainings.settle(session, network, _after_silence(attempts, settings), now=now)
    fitters = select(Calibration.id, Calibration.attempts).where(
        Calibration.state == CalibrationState.FITTING, Calibration.lease_until < now
    )
    for calibration, attempts in session.execute(fitters.limit(_AT_ONCE)).all():
        calibrations.settle(session, calibration, _after_silence(attempts, settings), now=now)
    preparers = select(Preparation.id, Preparation.attempts).where(
        Preparation.state == PreparationState.PREPARING, Preparation.lease_until < now
    )
    for preparation, attempts in session.execute(preparers.limit(_AT_ONCE)).all():
        dry_runs.settle(session, preparation, _after_silence(attempts, settings), now=now)
    return hints


def find_lost(session: Session, tasks: Iterable[Task], *, now: datetime, after_s: float) -> list[Message]:
    """Hints to send again for rows that are ready, but that nobody has looked at for ``after_s``."""
    lost = now - timedelta(seconds=after_s)
    hints: list[Message] = []
    for task in tasks:
        table, ready = _READY[task]
        due = select(table.id).where(ready, or_(table.dispatched_at.is_(None), table.dispatched_at < lost))
        rows = list(session.execute(due.limit(_AT_ONCE)).scalars())
        if rows:
            session.execute(update(table).where(table.id.in_(rows)).values(dispatched_at=now))
        hints += [Message(task, row) for row in rows]
    return hints


def reconcile(database: Database, settings: WorkerSettings, hints: Hints) -> None:
    """One pass: new days, windows and deadlines, expired leases, lost hints, due batches."""
    # To ask the broker takes longer than all the rest, and may hang: not in a transaction, and once.
    patience_s = {queue: _patience(hints, queue, settings) for queue in _TASKS_OF}
    with database.transaction() as session:
        now = database.now(session)
        runs.resume_daily_paused(session, now=now)
        due_schedules.create_due_firings(session, now=now)
        messages = run_windows.apply_windows(session, now=now)
        messages += expire(session, now=now, settings=settings)
        for queue, tasks in _TASKS_OF.items():
            messages += find_lost(session, tasks, now=now, after_s=patience_s[queue])
    if messages:
        reach(CrashPoint.RECONCILED)
    hints.send(messages)
    dispatch(database, settings, hints, after_s=patience_s[Queue.SAMPLE])


def run(database: Database, settings: WorkerSettings, hints: Hints, stop: threading.Event) -> None:
    """Pass after pass until ``stop``; an unreachable database is waited for."""
    holder = f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"
    reachable = True
    while not stop.is_set():
        try:
            with database.transaction() as session:
                now = database.now(session)
                leading = lead(session, holder, now=now, lease_s=settings.leader_lease_s)
            if leading:
                reconcile(database, settings, hints)
            reachable = True
        except StaleState as error:
            log.info("a worker was faster", error=str(error))
        except StorageError as error:
            if reachable:
                log.warning("database not reachable", error=str(error))
            reachable = False
        stop.wait(settings.reconcile_every_s)


def main() -> None:
    configure()
    stop = threading.Event()

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    signal.signal(signal.SIGTERM, on_signal)
    signal.signal(signal.SIGINT, on_signal)
    from worker.celery import app

    database = Database(load_settings().database_url)
    try:
        settings = load_worker_settings()
        database.require_current()
    except (ParameterError, StorageError) as error:
        sys.exit(f"error: {error}")
    log.info("reconciler started", database=database.name)
    run(database, settings, CeleryHints(app), stop)
    log.info("reconciler stopped")


def _patience(hints: Hints, queue: Queue, settings: WorkerSettings) -> float:
    """How long a hint may lead to nothing: briefly when its queue is empty, for then it is surely lost."""
    return settings.rehint_idle_s if hints.waiting(queue) == 0 else settings.rehint_s


def _after_silence(attempts: int, settings: WorkerSettings) -> Retry | Discard:
    error = f"the worker fell silent during attempt {attempts}"
    return Discard(error) if attempts >= settings.max_attempts else Retry(0.0, error)


if __name__ == "__main__":
    main()
