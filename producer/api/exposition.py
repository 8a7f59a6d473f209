"""What the database says of all work, in Prometheus' text format."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy import case, func, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from schema.access import Delivery
from schema.database import Database
from schema.parameters import Solver
from schema.states import LIVE_RUNS, BatchState, DeliveryState, ProblemState, RunState, State
from schema.tables import Batch, Problem, Run

_FRESH_S = 2.0  # several scrapers cost one look


class Exposition:
    """The figures as text, at most two seconds old."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._text, self._at = b"", float("-inf")

    def text(self) -> bytes:
        """Raises StorageError while the database is away."""
        with self._lock:
            if time.monotonic() - self._at > _FRESH_S:
                with self._database.reading() as session:
                    found = list(_collect(session, self._database.now(session)))
                registry = CollectorRegistry()
                registry.register(_Collected(found))
                self._text, self._at = generate_latest(registry), time.monotonic()
            return self._text


class _Collected(Collector):
    """What was read, as Prometheus' client asks for it."""

    def __init__(self, found: Iterable[Metric]) -> None:
        self._found = found

    def collect(self) -> Iterable[Metric]:
        return self._found


def _collect(session: Session, now: datetime) -> Iterator[Metric]:
    yield _by_state("annealq_runs", "Runs by state", RunState, _counts(session, Run.state))
    rows = session.execute(
        select(Batch.state, func.count(), func.sum(Batch.count)).group_by(Batch.state)
    ).all()
    yield _by_state("annealq_batches", "Batches by state", BatchState, {row[0]: row[1] for row in rows})
    yield _by_state(
        "annealq_images", "Images by the state of their batch", BatchState, {row[0]: row[2] for row in rows}
    )
    told = _counts(session, Delivery.state)
    yield _by_state("annealq_webhook_deliveries", "Messages to webhooks by state", DeliveryState, told)
    yield from _ledger(session)
    yield from _queue(session, now)


def _ledger(session: Session) -> Iterator[Metric]:
    counts = _counts(session, Problem.state)
    yield _by_state("annealq_problems", "Problems by state", ProblemState, counts)
    again = func.sum(case((Problem.times_sent > 1, Problem.times_sent - 1), else_=0))
    duplicates, resent = session.execute(select(func.sum(Problem.duplicates), again)).one()
    yield _total("annealq_problem_duplicates", "Problems that arrived twice", duplicates)
    yield _total("annealq_problem_resubmissions", "Problems that were sent again", resent)
    rows = session.execute(
        select(Run.solver, func.sum(Problem.charged_us), func.sum(Problem.wasted_us))
        .join(Batch, Batch.run_id == Run.id)
        .join(Problem, Problem.batch_id == Batch.id)
        .group_by(Run.solver)
    ).all()
    charged = CounterMetricFamily(
        "annealq_qpu_microseconds", "QPU time charged, of answers and of duplicates", labels=["solver"]
    )
    known = {solver: (used or 0) + (wasted or 0) for solver, used, wasted in rows}
    for solver in Solver:
        charged.add_metric([solver], float(known.get(solver, 0)))
    yield charged


def _queue(session: Session, now: datetime) -> Iterator[Metric]:
    due = (
        select(func.count(), func.min(Batch.due_at))
        .join(Run, Run.id == Batch.run_id)
        .where(Batch.state == BatchState.PENDING, Batch.due_at <= now, Run.state.in_(LIVE_RUNS))
    )
    waiting, oldest = session.execute(due).one()
    yield GaugeMetricFamily("annealq_queue_depth", "Batches that are due and wait for a worker", waiting)
    age = max((now - oldest).total_seconds(), 0.0) if waiting else 0.0
    yield GaugeMetricFamily("annealq_oldest_due_seconds", "How long the oldest of them has been due", age)


def _counts(session: Session, column: InstrumentedAttribute[Any]) -> dict[Any, int]:
    """Rows by state."""
    rows = session.execute(select(column, func.count()).group_by(column))
    return {row[0]: row[1] for row in rows}


def _by_state(name: str, text: str, states: Iterable[State], counts: Mapping[Any, int]) -> Metric:
    family = GaugeMetricFamily(name, text, labels=["state"])
    for state in states:
        family.add_metric([state], float(counts.get(state, 0)))
    return family


def _total(name: str, text: str, value: int | None) -> Metric:
    return CounterMetricFamily(name, text, float(value or 0))
