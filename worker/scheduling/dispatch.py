"""Chooses the batches that get a hint next, and limits the broker's queue.

Only a few hints wait in the broker at any time: priority, pauses and limits are evaluated here, in SQL, when
a worker has room. Runs of the same priority take turns. A run of a higher priority overtakes the others at
once, because a worker that gets a hint takes the most urgent batch instead of the one in the hint.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import chain, groupby, islice, zip_longest
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, func, or_, select, update
from sqlalchemy.orm import Session

from schema.calendar.run_hours import RunHours
from schema.database import Database
from schema.messages import Message, Task
from schema.parameters import solver_key
from schema.settings.worker import WorkerSettings
from schema.states import LIVE_RUNS, BatchState
from schema.tables import Batch, Run
from worker.process.hints import Hints
from worker.records import problems
from worker.records.features import waiting
from worker.scheduling import circuit_breaker

_TRIED = 8  # runs searched for a more urgent batch: other workers may be claiming those of the first
_SHARING = 64  # runs of one priority that take turns; later runs wait


def dispatch(
    database: Database,
    settings: WorkerSettings,
    hints: Hints,
    after_s: float | None = None,
    *,
    accounts: circuit_breaker.Accounts | None = None,
) -> int:
    """Send ``hints`` for due batches of ``database`` until enough wait in the broker; return their number.

    Feature vectors that batches or networks wait for get some, too.

    A hint without effect for ``after_s`` seconds (default: `rehint_s` of ``settings``) counts as lost.

    Args:
        accounts: the accounts of a worker, which knows its solvers' tokens; their circuit breakers count.
    """
    after_s = settings.rehint_s if after_s is None else after_s
    with database.transaction() as session:
        batches = choose_batches(session, settings, accounts, now=database.now(session), after_s=after_s)
        feature_rows = waiting.next_hints(session, now=database.now(session), after_s=after_s)
    hints.send(Message(Task.COMPUTE_FEATURES, row) for row in feature_rows)
    hints.send(Message(Task.SAMPLE_BATCH, batch) for batch in batches)
    return len(batches)


def choose_batches(
    session: Session,
    settings: WorkerSettings,
    accounts: circuit_breaker.Accounts | None = None,
    *,
    now: datetime,
    after_s: float,
) -> list[int]:
    """Mark the next batches due at ``now`` in ``session`` as hinted and return their ids.

    Higher priorities come first; runs of the same priority take turns.

    Args:
        settings: how many hints may wait.
        accounts: as for `dispatch`.
        after_s: seconds after which a hint without effect counts as lost.
    """
    lost = now - timedelta(seconds=after_s)
    waiting = session.execute(
        select(func.count())
        .select_from(Batch)
        .join(Run, Run.id == Batch.run_id)
        .where(Run.state.in_(LIVE_RUNS), Batch.state == BatchState.PENDING, Batch.dispatched_at > lost)
    ).scalar_one()
    room = settings.waiting_hints - waiting
    # Refilling one by one would cost a query for each batch; at half the room is early enough.
    if room <= settings.waiting_hints // 2:
        return []
    due = and_(Batch.due_at <= now, or_(Batch.dispatched_at.is_(None), Batch.dispatched_at <= lost))
    gate = _Gate(session, settings, accounts, now)
    chosen: list[int] = []
    for _, runs in groupby(session.execute(_live(due)).all(), key=lambda run: run.priority):
        queues = [gate.admit(run, _next(session, run.id, due, room)) for run in islice(runs, _SHARING)]
        chosen += islice(_in_turns(queues), room - len(chosen))
        if len(chosen) >= room:
            break
    if chosen:
        session.execute(update(Batch).where(Batch.id.in_(chosen)).values(dispatched_at=now))
    return chosen


def choose_batch(
    session: Session,
    batch: int,
    settings: WorkerSettings,
    accounts: circuit_breaker.Accounts | None = None,
    *,
    now: datetime,
) -> int:
    """Return the batch to claim at ``now`` on a hint for ``batch``: one of a higher priority, if any is due.

    Otherwise it is one of the same run that another worker began and released, or ``batch`` itself. A batch
    that is passed over gets another hint. ``session``, ``settings`` and ``accounts`` decide about closed
    solvers.
    """
    own_priority = select(Run.priority).join(Batch, Batch.run_id == Run.id).where(Batch.id == batch)
    due = Batch.due_at <= now
    gate = _Gate(session, settings, accounts, now)
    more_urgent = _live(due).where(Run.priority > own_priority.scalar_subquery())
    for run in session.execute(more_urgent if gate.is_anywhere_closed else more_urgent.limit(_TRIED)).all():
        admitted = gate.admit(run, _next(session, run.id, due, 1))
        if admitted:
            session.execute(update(Batch).where(Batch.id == batch).values(dispatched_at=None))
            return admitted[0]
    # If a solver does not answer, only the batch in the hint may probe it.
    return batch if gate.is_anywhere_closed else _begun(session, batch, due)


@dataclass
class _Gate:
    """Filters out batches whose run's window is closed or whose solver fails, except a probe and batches
    that wait for answers.
    """

    session: Session
    settings: WorkerSettings
    accounts: circuit_breaker.Accounts | None
    now: datetime
    _broken: dict[str, circuit_breaker.BrokenSolver] = field(init=False)

    def __post_init__(self) -> None:
        self._broken = circuit_breaker.find_all(self.session, self.accounts)

    @property
    def is_anywhere_closed(self) -> bool:
        limit = self.settings.breaker_failures
        return any(broken.failures >= limit for broken in self._broken.values())

    def admit(self, run: Any, batches: Sequence[int]) -> Sequence[int]:
        if not RunHours.of(run.window, run.opened_until, None).is_open(self.now):
            return ()
        if not self._broken or not batches:
            return batches
        chosen = self.session.execute(
            select(Run.solver, Run.parameters, Run.qpu).where(Run.id == run.id)
        ).one()
        solver = solver_key(*chosen)
        broken = self._broken.get(solver)
        if broken is None or broken.failures < self.settings.breaker_failures:
            return batches
        probes = circuit_breaker.start_probe(
            self.session, solver, batches[0], broken.failures, now=self.now, settings=self.settings
        )
        probe = batches[:1] if probes else ()
        return list(dict.fromkeys((*probe, *self._awaited(run.id, len(batches)))))

    def _awaited(self, run: int, most: int) -> Sequence[int]:
        """Return due batches of ``run`` whose problems were accepted before: they are only collected."""
        due = and_(Batch.due_at <= self.now, problems.is_awaited())
        return _next(self.session, run, due, most)


def _live(due: ColumnElement[bool]) -> Select[Any]:
    """Select live runs that have due batches, by priority, then by age."""
    has_due = select(Batch.id).where(Batch.run_id == Run.id, Batch.state == BatchState.PENDING, due).exists()
    return (
        select(Run.id, Run.priority, Run.window, Run.opened_until)
        .where(Run.state.in_(LIVE_RUNS), has_due)
        .order_by(Run.priority.desc(), Run.id)
    )


def _next(session: Session, run: int, due: ColumnElement[bool], most: int) -> Sequence[int]:
    """Return the first due batches of a run, locked against other workers."""
    query = (
        select(Batch.id)
        .where(Batch.run_id == run, Batch.state == BatchState.PENDING, due)
        .order_by(Batch.ordinal)
        .limit(most)
        .with_for_update(skip_locked=True)  # PostgreSQL; SQLite has only one writer
    )
    return session.execute(query).scalars().all()


def _begun(session: Session, batch: int, due: ColumnElement[bool]) -> int:
    """Return the first due batch of the same live run that was claimed before, or else ``batch``."""
    own_run = select(Run.id).join(Batch, Batch.run_id == Run.id)
    own_run = own_run.where(Batch.id == batch, Batch.state == BatchState.PENDING, Run.state.in_(LIVE_RUNS))
    run = session.execute(own_run).scalar()
    begun = select(Batch.id).where(
        Batch.run_id == run, Batch.state == BatchState.PENDING, Batch.fence > 0, due
    )
    first = session.execute(begun.order_by(Batch.ordinal).limit(1).with_for_update(skip_locked=True)).scalar()
    if run is None or first is None or first == batch:
        return batch
    session.execute(update(Batch).where(Batch.id == batch).values(dispatched_at=None))
    return first


def _in_turns(queues: Sequence[Sequence[int]]) -> Iterator[int]:
    """Yield the first of each queue, then the second of each, and so on."""
    return (batch for batch in chain.from_iterable(zip_longest(*queues)) if batch is not None)
