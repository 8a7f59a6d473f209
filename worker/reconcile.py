"""The reconciler: a small process that repairs what crashes and lost messages leave behind.

    python -m worker.reconcile

It does not depend on the broker. Several may run: the holder of a lease in SQL works and the others wait. Two
passes at the same time do no harm, because each transition is guarded.
"""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from functools import cache

import structlog
from sqlalchemy import ColumnElement, Select, and_, bindparam, or_, select, update
from sqlalchemy.orm import Session

from schema.database import Database
from schema.database.crash_points import CrashPoint, reach
from schema.database.leader_lease import RECONCILER, run_while_leading
from schema.errors import ParameterError, StaleState, StorageError
from schema.messages import QUEUE_OF, Message, Queue, Task
from schema.settings import load as load_settings
from schema.settings import load_worker
from schema.settings.worker import WorkerSettings
from schema.states import BatchState, NetworkState, PlanState, PreparationState, RunState
from schema.tables import Batch, Calibration, CalibrationPlan, Network, Preparation, Run
from schema.tables.columns import UtcDateTime
from schema.tables.runs import is_read
from worker.process import presence
from worker.process.hints import CeleryHints, Hints
from worker.process.logs import configure
from worker.records import attempts, claims, leases, runs
from worker.records.features import waiting
from worker.rounds import begin
from worker.scheduling import due_schedules, rechecks, run_windows
from worker.scheduling.dispatch import dispatch

_AT_ONCE = 500  # rows repaired in one transaction; the next pass takes the rest

_NOT_REPEATED = (
    Task.DISPATCH,
    Task.COMPUTE_FEATURES,  # by `dispatch`
    Task.COMPUTE_HISTOGRAMS,
    Task.COMPUTE_SAMPLE_SETS,
)
_TASKS_OF = {
    queue: [task for task in Task if QUEUE_OF[task] is queue and task not in _NOT_REPEATED] for queue in Queue
}

log = structlog.get_logger()


@cache
def _ready() -> dict[Task, tuple[leases.HintedTable | type[Run], ColumnElement[bool]]]:
    """Build the conditions that rows are ready for each message, once: that took half of a pass.

    The time is the parameter `now_`. `dispatch` chooses the batches to sample by priority, except those of
    paused or cancelled runs with problems in flight.
    """
    return {
        Task.AGGREGATE_BATCH: (Batch, Batch.state == BatchState.SAMPLED),
        Task.SAMPLE_BATCH: (Batch, and_(Batch.state == BatchState.PENDING, claims.left_in_flight())),
        Task.TRAIN_NETWORK: (
            Network,
            and_(Network.state == NetworkState.QUEUED, waiting.network_due()),
        ),
        Task.AGGREGATE_RUN: (
            Run,
            or_(
                and_(
                    Run.state.in_([RunState.RUNNING, RunState.PAUSED, RunState.AGGREGATING]),
                    Run.batches_scored + Run.batches_failed == Run.batches,
                    is_read(),
                    ~begin.waits(),
                ),
                runs.awaits_statistics(),
            ),
        ),
        Task.PLAN_CALIBRATION: (CalibrationPlan, CalibrationPlan.state == PlanState.QUEUED),
        Task.CALIBRATE_NETWORK: (Calibration, claims.calibration_due()),
        Task.FIND_DUPLICATES: (Run, rechecks.due_runs(bindparam("now_", type_=UtcDateTime()))),
        Task.PREPARE: (Preparation, Preparation.state == PreparationState.QUEUED),
    }


@cache
def _lost(task: Task) -> Select[int]:
    """Build the query for rows that are ready for ``task`` at `now_`, and got no hint since `lost_`."""
    table, ready = _ready()[task]
    unhinted = or_(table.dispatched_at.is_(None), table.dispatched_at < bindparam("lost_"))
    return select(table.id).where(ready, unhinted).limit(_AT_ONCE)


def find_lost(session: Session, tasks: Iterable[Task], *, now: datetime, after_s: float) -> list[Message]:
    """Mark rows in ``session`` that are ready for ``tasks`` but got no hint for ``after_s`` seconds.

    Returns:
        Hints to send for them at ``now``.
    """
    times = {"now_": now, "lost_": now - timedelta(seconds=after_s)}
    hints: list[Message] = []
    for task in tasks:
        rows = list(session.execute(_lost(task), times).scalars())
        if rows:
            table, _ = _ready()[task]
            session.execute(update(table).where(table.id.in_(rows)).values(dispatched_at=now))
        hints += [Message(task, row) for row in rows]
    return hints


def reconcile(database: Database, settings: WorkerSettings, hints: Hints) -> None:
    """Make one pass over ``database``: resume, pause and expire runs, release leases, send lost ``hints``.

    ``settings`` limit attempts and the age of hints.
    """
    # Asking the broker takes longer than everything else and may hang: do it once, outside of a transaction.
    patience_s = {queue: _patience(hints, queue, settings) for queue in _TASKS_OF}
    with database.transaction() as session:
        now = database.now(session)
        presence.remove_gone(session, now=now)
        runs.resume_budget_paused(session, now=now)
        due_schedules.create_due_firings(session, now=now)
        messages = run_windows.apply_windows(session, now=now)
        expired = attempts.release_expired(session, now=now, settings=settings)
        messages += [Message(Task.AGGREGATE_RUN, run) for run in expired]
        for queue, tasks in _TASKS_OF.items():
            messages += find_lost(session, tasks, now=now, after_s=patience_s[queue])
    if messages:
        reach(CrashPoint.RECONCILED)
    hints.send(messages)
    dispatch(database, settings, hints, after_s=patience_s[Queue.SAMPLE])


def run(database: Database, settings: WorkerSettings, hints: Hints, stop: threading.Event) -> None:
    """Reconcile ``database`` by ``settings`` while this process leads, and send ``hints``, until ``stop``."""

    def make_pass(_leads: Callable[[], bool]) -> None:
        try:
            reconcile(database, settings, hints)
        except StaleState as error:
            log.info("a worker was faster", error=str(error))

    def report(error: StorageError) -> None:
        log.warning("database not reachable", error=str(error))

    lease_s, every_s = settings.leader_lease_s, settings.reconcile_every_s
    run_while_leading(
        database, RECONCILER, make_pass, stop, lease_s=lease_s, every_s=every_s, on_outage=report
    )


def main() -> None:
    configure()
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    from worker.celery import app

    database = Database(load_settings().database_url)
    try:
        settings = load_worker()
        database.require_current()
    except (ParameterError, StorageError) as error:
        sys.exit(f"error: {error}")
    log.info("reconciler started", database=database.name)
    run(database, settings, CeleryHints(app), stop)
    log.info("reconciler stopped")


def _patience(hints: Hints, queue: Queue, settings: WorkerSettings) -> float:
    """Return after how long a hint without effect counts as lost: soon if its queue is empty."""
    return settings.rehint_idle_s if hints.waiting(queue) == 0 else settings.rehint_s


if __name__ == "__main__":
    main()
