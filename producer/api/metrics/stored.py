"""Metrics of all runs, batches, problems and workers in the database."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from sqlalchemy import and_, case, func, select
from sqlalchemy.orm import InstrumentedAttribute, Session, aliased

from producer.progress import backlog, intake, workers
from producer.progress.workers import WorkerState
from schema.parameters import Solver
from schema.states import LIVE_RUNS, DeliveryState, ProblemState, RunState
from schema.tables import Batch, Breaker, Chip, Classification, Problem, Run
from schema.tables.api import Delivery
from schema.tables.costs import charged_by_solver, charged_us, round_charge

_UNFINISHED = (*LIVE_RUNS, RunState.PAUSED)
_LATEST = 1_000  # images of a run


def collect(session: Session, now: datetime) -> Iterator[Metric]:
    """Yield the metrics of the database behind ``session``, as they are ``now``."""
    yield _by_state("annealq_runs", "Runs by state", RunState, _counts(session, Run.state))
    counts = backlog.count_by_state(session)
    text = "by state; paused and cancelled with their run"
    batches = {state: count.batches for state, count in counts.items()}
    yield _by_state("annealq_batches", f"Batches {text}", backlog.STATES, batches)
    images = {state: count.images for state, count in counts.items()}
    yield _by_state("annealq_images", f"Images of batches {text}", backlog.STATES, images)
    unread = intake.count_to_come(session)
    text = "Images that sources of unfinished runs announce and that are not read yet"
    yield GaugeMetricFamily("annealq_images_unread", text, unread.images)
    sent = _counts(session, Delivery.state)
    yield _by_state("annealq_webhook_deliveries", "Messages to webhooks by state", DeliveryState, sent)
    yield from _ledger(session)
    yield from _queue(session, now)
    states = Counter(worker.state for worker in workers.list_workers(session, now))
    text = "Processes of workers by state; the dead of the last hour"
    yield _by_state("annealq_workers", text, WorkerState, states)
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


def collect_runs(session: Session) -> Iterator[Metric]:
    """Yield the metrics of each unfinished run in ``session``."""
    charges = session.execute(
        select(Run.id, Run.solver, func.sum(charged_us()))
        .join(Batch, Batch.run_id == Run.id)
        .join(Problem, Problem.batch_id == Batch.id)
        .where(Run.state.in_(_UNFINISHED))
        .group_by(Run.id, Run.solver)
    )
    text = "QPU time charged to a run so far"
    seconds = ((run, solver, round_charge(us) / 1e6) for run, solver, us in charges)
    yield _fill(GaugeMetricFamily("annealq_run_qpu_seconds", text, labels=["run", "solver"]), seconds)
    text = "Mean share of broken chains over the latest images of a run"
    yield _fill(GaugeMetricFamily("annealq_run_chain_break_ratio", text, labels=["run"]), _breaks(session))


def _breaks(session: Session) -> Iterable[Sequence[Any]]:
    """Return the unfinished runs on qubits, and the mean share of broken chains of their latest images.

    All images of a large run would take seconds at each scrape.
    """
    other = aliased(Classification)
    first = select(func.max(other.image) - _LATEST).where(other.run_id == Run.id).scalar_subquery()
    share = Classification.chain_break_fraction
    return session.execute(
        select(Run.id, func.avg(share))
        .join(Classification, and_(Classification.run_id == Run.id, Classification.image > first))
        .where(Run.state.in_(_UNFINISHED), share.is_not(None))
        .group_by(Run.id)
    )


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
    charged = charged_by_solver(session)
    seconds = {solver.value: 0.0 for solver in Solver} | {key: us / 1e6 for key, us in charged.items()}
    text = "QPU time charged for answers and duplicates"
    yield _fill(CounterMetricFamily("annealq_qpu_seconds", text, labels=["solver"]), seconds.items())


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
