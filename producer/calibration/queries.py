"""Read-only queries on calibrations; rows are frozen dataclasses."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row, Select, func, select
from sqlalchemy.orm import Session

from schema.database.rows import copy_row
from schema.errors import NotFound
from schema.states import BatchState, CalibrationState, RunState
from schema.tables import Batch, Calibration, Network, Run


@dataclass(frozen=True)
class CalibrationSummary:
    """A calibration as `networks calibrate` and `networks show` print it."""

    calibration_id: int
    network: str
    solver: str
    visible: str
    state: CalibrationState
    name: str  # of the validation set
    images: int
    parameters: dict[str, Any] | None
    accuracy: float | None
    measured: dict[str, Any] | None
    budget_us: int | None
    error: str | None
    created_at: datetime
    finished_at: datetime | None


def of_network(session: Session, network_id: int) -> list[CalibrationSummary]:
    """Return all calibrations of network ``network_id``, newest first, read by ``session``."""
    query = _calibrations().where(Calibration.network_id == network_id).order_by(Calibration.id.desc())
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
        .where(Run.calibrates == calibration_id, Batch.state == BatchState.SCORED)
    )
    images = select(func.coalesce(func.sum(Run.images), 0)).where(Run.calibrates == calibration_id)
    return int(session.execute(scored).scalar_one()), int(session.execute(images).scalar_one())


def _calibrations() -> Select[Calibration, str, int]:
    return select(Calibration, Network.name, Network.version).join(
        Network, Network.id == Calibration.network_id
    )


def _calibration(row: Row[Calibration, str, int]) -> CalibrationSummary:
    calibration, name, version = row
    named = f"{name}@{version}"
    return copy_row(calibration, CalibrationSummary, calibration_id=calibration.id, network=named)
