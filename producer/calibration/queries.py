"""Read-only queries on calibrations; rows are frozen dataclasses."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row, Select, func, select
from sqlalchemy.orm import Session, defer

from schema.database.rows import copy_row
from schema.errors import NotFound
from schema.states import BatchState, CalibrationState, PlanState, RunState
from schema.tables import Batch, Calibration, CalibrationPlan, Network, Run


@dataclass(frozen=True)
class CalibrationSummary:
    """A calibration as `networks calibrate`, `networks show` and the API show it.

    Attributes:
        plan_state: of its plan; None: an earlier version enqueued it.
        progress: step and fraction of the search for an embedding that its plan needs, while it runs.
        runs: number of settings that are compared; 0 until it is planned.
        images: in each run; until it is planned, those that were offered.
    """

    calibration_id: int
    network: str
    solver: str
    visible: str
    state: CalibrationState
    plan_state: PlanState | None
    progress: dict[str, Any] | None
    runs: int
    name: str  # of the validation set
    images: int
    parameters: dict[str, Any] | None
    accuracy: float | None
    measured: dict[str, Any] | None
    budget_us: int | None
    error: str | None
    created_at: datetime
    finished_at: datetime | None


def list_calibrations(
    session: Session, network_id: int | None = None, *, limit: int | None = None, before: int | None = None
) -> list[CalibrationSummary]:
    """Return calibrations, newest first, read by ``session``.

    Args:
        network_id: only those of this network.
        limit: of their number.
        before: only calibrations older than this one.
    """
    query = _calibrations().order_by(Calibration.id.desc()).limit(limit)
    if network_id is not None:
        query = query.where(Calibration.network_id == network_id)
    if before is not None:
        query = query.where(Calibration.id < before)
    return [_calibration(row) for row in session.execute(query)]


def get(session: Session, calibration_id: int) -> CalibrationSummary:
    """Return the calibration ``calibration_id``, read by ``session``; raise NotFound."""
    row = session.execute(_calibrations().where(Calibration.id == calibration_id)).first()
    if row is None:
        raise NotFound(
            f"no calibration {calibration_id}: `annealq networks show NAME` lists those of a network"
        )
    return _calibration(row)


def pause_of(session: Session, calibration_id: int) -> tuple[int, str] | None:
    """Return a run of ``calibration_id`` that is paused, and why; None if there is none."""
    query = select(Run.id, func.coalesce(Run.pause_reason, "by a user")).where(
        Run.calibrates == calibration_id, Run.state == RunState.PAUSED
    )
    row = session.execute(query.order_by(Run.id).limit(1)).first()
    return None if row is None else (row[0], row[1])


def progress(session: Session, calibration_id: int) -> tuple[int, int]:
    """Return the images scored so far in all runs of ``calibration_id``, and the images in total."""
    scored = (
        select(func.coalesce(func.sum(Batch.count), 0))
        .join(Run, Run.id == Batch.run_id)
        .where(Run.calibrates == calibration_id, Batch.state == BatchState.SCORED, Batch.round == 1)
    )
    images = select(func.coalesce(func.sum(Run.images), 0)).where(Run.calibrates == calibration_id)
    return int(session.execute(scored).scalar_one()), int(session.execute(images).scalar_one())


def _calibrations() -> Select[Any]:
    runs = select(func.count()).where(Run.calibrates == Calibration.id).scalar_subquery()
    columns = (Calibration, Network.name, Network.version, CalibrationPlan, runs.label("runs"))
    query = select(*columns).join(Network, Network.id == Calibration.network_id)
    query = query.outerjoin(CalibrationPlan, CalibrationPlan.id == Calibration.id)
    long = (Calibration.image_digests, Calibration.nonconformity, CalibrationPlan.settings)
    return query.options(*map(defer, long))


def _calibration(row: Row[Any]) -> CalibrationSummary:
    calibration, plan = row.Calibration, row.CalibrationPlan
    values: dict[str, Any] = {"calibration_id": calibration.id, "network": f"{row.name}@{row.version}"}
    values |= {"runs": row.runs, "plan_state": None if plan is None else plan.state}
    values |= {"progress": None if plan is None else plan.progress}
    if plan is not None and calibration.error is None:
        values["error"] = plan.error if calibration.state is CalibrationState.WAITING else None
    return copy_row(calibration, CalibrationSummary, **values)
