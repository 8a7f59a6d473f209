"""Claims a batch, or another row of work, for one worker: a guarded transition that gives a lease."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, and_, or_, select, true
from sqlalchemy.orm import Session

from schema.database import transition_if
from schema.states import HALTED_RUNS, LIVE_RUNS, CalibrationState, EmbeddingState, State
from schema.tables import Batch, Calibration, CalibrationPlan, Embedding, FeatureSet, Network, Problem, Run
from schema.tables.costs import IN_FLIGHT
from worker.records.features import waiting
from worker.records.leases import STATES, Lease, LeasedTable, SimplyClaimed


def claim_batch(session: Session, batch: int, *, now: datetime, lease_s: float) -> Lease | None:
    """Claim ``batch`` in ``session`` for ``lease_s`` seconds from ``now``; return None if it is not due.

    A batch of a run that is paused or cancelled is claimed only if it has problems in flight to collect.
    """
    live = select(Run.id).where(Run.id == Batch.run_id, Run.state.in_(LIVE_RUNS)).exists()
    due = and_(Batch.due_at <= now, or_(live, left_in_flight()))
    return _claim(session, Batch, batch, due, now, lease_s, qpu=None)  # another one may take it now


def claim(session: Session, table: SimplyClaimed, row: int, *, now: datetime, lease_s: float) -> Lease | None:
    """Claim ``row`` of ``table`` in ``session`` for ``lease_s`` seconds from ``now``, if it is waiting.

    A calibration is claimed once its plan and all of its runs are finished, a network once the vectors of its
    training set are, and a feature set while something waits for it.
    """
    conditions: dict[SimplyClaimed, Callable[[], ColumnElement[bool]]] = {
        Calibration: calibration_due,
        Network: waiting.network_due,
        FeatureSet: waiting.is_wanted,
    }
    condition = conditions.get(table, true)()
    return _claim(session, table, row, condition, now, lease_s)


def claim_embedding(session: Session, embedding: int, *, now: datetime, lease_s: float) -> Lease | None:
    """Claim the search for ``embedding`` in ``session`` for ``lease_s`` seconds from ``now``.

    Return None unless an earlier search failed, or the lease of its worker has expired.
    """
    lease = _claim(session, Embedding, embedding, true(), now, lease_s)
    if lease is None:
        source = EmbeddingState.SEARCHING
        lease = _claim(
            session, Embedding, embedding, Embedding.lease_until < now, now, lease_s, source=source
        )
    return lease


def left_in_flight() -> ColumnElement[bool]:
    """Build the condition that a batch of a paused or cancelled run has problems in flight."""
    halted = select(Run.id).where(Run.id == Batch.run_id, Run.state.in_(HALTED_RUNS)).exists()
    return and_(halted, Batch.id.in_(select(Problem.batch_id).where(Problem.state.in_(IN_FLIGHT))))


def calibration_due() -> ColumnElement[bool]:
    """Build the condition that a calibration waits, and that its plan and all of its runs have finished."""
    plan = select(CalibrationPlan.id).where(
        CalibrationPlan.id == Calibration.id, CalibrationPlan.finished_at.is_(None)
    )
    runs = select(Run.id).where(Run.calibrates == Calibration.id, Run.finished_at.is_(None))
    return and_(Calibration.state == CalibrationState.WAITING, ~plan.exists(), ~runs.exists())


def _claim(
    session: Session,
    table: LeasedTable,
    row: int,
    condition: ColumnElement[bool],
    now: datetime,
    lease_s: float,
    *,
    source: State | None = None,
    **values: Any,
) -> Lease | None:
    states = STATES[table]
    claimed = transition_if(
        session,
        row,
        source or states.waiting,
        states.held,
        condition,
        returning=(table.fence, table.attempts),
        now=now,
        fence=table.fence + 1,
        attempts=table.attempts + 1,
        lease_until=now + timedelta(seconds=lease_s),
        started_at=now,
        **values,
    )
    return None if claimed is None else Lease(table, row, *claimed)
