"""Metrics of all runs, batches and problems in the database, in Prometheus' text format."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from cachetools import TTLCache
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy import case, func, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from producer.progress import backlog
from schema.database import Database
from schema.parameters import Solver
from schema.states import LIVE_RUNS, DeliveryState, ProblemState, RunState
from schema.tables import Batch, Breaker, Chip, Classification, Problem, Run
from schema.tables.api import Delivery
from schema.tables.costs import charged_us, round_charge

_UNFINISHED = (*LIVE_RUNS, RunState.PAUSED)
_FRESH_S = 2.0  # several scrapers cost one query


class PrometheusMetrics:
    """Metrics of ``database`` as text, at most two seconds old.

    Metrics of single runs are separate, for callers that see all runs. They cover unfinished runs only,
    because Prometheus stores a series for every run that it has ever seen.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._texts: TTLCache[bool, bytes] = TTLCache(2, _FRESH_S)

    def text(self, *, by_run: bool) -> bytes:
        """Return the metrics, with those of single runs if ``by_run``; raise StorageError."""
        with self._lock:
            text = self._texts.get(by_run)
            if text is None:
                with self._database.reading() as session:
                    totals = _text(_collect(session, self._database.now(session)))
                    text = totals + _text(_runs(session)) if by_run else totals
                self._texts[by_run] = text
            return text


def _text(metrics: Iterable[Metric]) -> bytes:
    registry = CollectorRegistry()
    registry.register(_Collected(list(metrics)))
    return generate_latest(registry)


class _Collected(Collector):
    """Metrics that were read already, as Prometheus' client expects them."""

    def __init__(self, metrics: Iterable[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterable[Metric]:
        return self._metrics


def _collect(session: Session, now: datetime) -> Iterator[Metric]:
    yield _by_state("annealq_runs", "Runs by state", RunState, _counts(session, Run.state))
    counts = backlog.count_by_state(session)
    text = "by state; paused and cancelled with their run"
    batches = {state: count.batches for state, count in counts.items()}
    yield _by_state("annealq_batches", f"Batches {text}", backlog.STATES, batches)
    images = {state: count.images for state, count in counts.items()}
    yield _by_state("annealq_images", f"Images of batches {text}", backlog.STATES, images)
    sent = _counts(session, Delivery.state)
    yield _by_state("annealq_webhook_deliveries", "Messages to webhooks by state", DeliveryState, sent)
    yield from _ledger(session)
    yield from _queue(session, now)
    failures = session.execute(select(Breaker.solver, func.max(Breaker.failures)).group_by(Breaker.solver))
    text = "Consecutive failures of a solver since its last answer"
    yield _fill(GaugeMetricFamily("annealq_solver_failures", text, labels=["solver"]), failures)
    text = "1 if the newest problems of a solver's chip differ from its past"
    alarms = select(Chip.name, func.max(case((Chip.alarm.is_not(None), 1), else_=0))).group_by(Chip.name)
    yield _fill(GaugeMetricFamily("annealq_chip_alarm", text, labels=["qpu"]), session.execute(alarms))
    opened = session.execute(
        select(Breaker.solver, func.min(Breaker.opened_at))
        .where(Breaker.opened_at.is_not(None))
        .group_by(Breaker.solver)
    )
    seconds = [(solver, (now - since).total_seconds()) for solver, since in opened if since is not None]
    text = "Time for which runs have been waiting for a solver that fails"
    yield _fill(GaugeMetricFamily("annealq_solver_outage_seconds", text, labels=["solver"]), seconds)


def _runs(session: Session) -> Iterator[Metric]:
    charges = session.execute(
        select(Run.id, Run.solver, func.sum(charged_us()))
        .join(Batch, Batch.run_id == Run.id)
        .join(Problem, Problem.batch_id == Batch.id)
        .where(Run.state.in_(_UNFINISHED))
        .group_by(Run.id, Run.solver)
    )
    text = "QPU time charged to a run so far"
    rounded = ((run, solver, round_charge(us)) for run, solver, us in charges)
    yield _fill(GaugeMetricFamily("annealq_run_qpu_microseconds", text, labels=["run", "solver"]), rounded)
    fractions = session.execute(
        select(Run.id, func.avg(Classification.chain_break_fraction))
        .join(Classification, Classification.run_id == Run.id)
        .where(Run.state.in_(_UNFINISHED), Classification.chain_break_fraction.is_not(None))
        .group_by(Run.id)
    )
    text = "Mean share of broken chains over the images of a run"
    yield _fill(GaugeMetricFamily("annealq_run_chain_break_fraction", text, labels=["run"]), fractions)


def _ledger(session: Session) -> Iterator[Metric]:
    counts = _counts(session, Problem.state)
    yield _by_state("annealq_problems", "Problems by state", ProblemState, counts)
    resubmissions = func.sum(case((Problem.times_sent > 1, Problem.times_sent - 1), else_=0))
    duplicates, resent = session.execute(select(func.sum(Problem.duplicates), resubmissions)).one()
    yield _total("annealq_problem_duplicates", "Problems that arrived more than once", duplicates)
    yield _total("annealq_problem_resubmissions", "Problems that were submitted again", resent)
    # Claims are counted, since attempts begin anew with progress and with a resumed run.
    retried = select(func.sum(case((Batch.fence > 1, Batch.fence - 1), else_=0)))
    retries = session.execute(retried).scalar()
    yield _total("annealq_batch_retries", "Attempts at batches after the first", retries)
    rows = session.execute(
        select(Run.solver, func.sum(charged_us()))
        .join(Batch, Batch.run_id == Run.id)
        .join(Problem, Problem.batch_id == Batch.id)
        .group_by(Run.solver)
    ).all()
    costs = {solver.value: 0.0 for solver in Solver} | {row[0]: round_charge(row[1]) for row in rows}
    text = "QPU time charged for answers and duplicates"
    yield _fill(CounterMetricFamily("annealq_qpu_microseconds", text, labels=["solver"]), costs.items())


def _queue(session: Session, now: datetime) -> Iterator[Metric]:
    due = backlog.due(session, now)
    yield GaugeMetricFamily("annealq_queue_depth", "Due batches that wait for a worker", due.batches)
    text = "Time since the oldest waiting batch became due"
    yield GaugeMetricFamily("annealq_oldest_due_seconds", text, due.age_s(now))


def _counts(session: Session, column: InstrumentedAttribute[Any]) -> dict[Any, int]:
    rows = session.execute(select(column, func.count()).group_by(column))
    return {row[0]: row[1] for row in rows}


def _by_state(name: str, text: str, states: Iterable[str], counts: Mapping[Any, int]) -> Metric:
    family = GaugeMetricFamily(name, text, labels=["state"])
    return _fill(family, ((state, counts.get(state, 0)) for state in states))


def _fill(
    family: GaugeMetricFamily | CounterMetricFamily, rows: Iterable[Sequence[Any]]
) -> GaugeMetricFamily | CounterMetricFamily:
    """Add to ``family`` the last value of each of ``rows``, labelled by the others."""
    for *labels, value in rows:
        family.add_metric([str(label) for label in labels], float(value))
    return family


def _total(name: str, text: str, value: int | None) -> Metric:
    return CounterMetricFamily(name, text, float(value or 0))
