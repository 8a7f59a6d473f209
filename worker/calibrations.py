"""Reads and writes of a calibration. No numbers are computed here."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from schema.database import advance
from schema.parameters import Parameters, Solver
from schema.states import CalibrationState, RunState
from schema.tables import Batch, Calibration, Run
from worker.retries import Again, GiveUp


@dataclass(frozen=True)
class Candidate:
    """One of a calibration's runs: the validation set, sampled with one set of parameters."""

    run: int
    state: RunState
    error: str | None
    parameters: Parameters
    batches: tuple[int, ...]


@dataclass(frozen=True)
class Job:
    """A calibration with its runs. All of them made the same number of reads."""

    calibration: int
    network: int
    solver: Solver
    images: int
    candidates: tuple[Candidate, ...]


@dataclass(frozen=True)
class Fitted:
    """The parameters chosen, their accuracy in [0, 1] on the validation set, and all that was compared."""

    parameters: Parameters
    accuracy: float
    measured: dict[str, Any]


def load(session: Session, calibration: int) -> Job:
    """Read a calibration that exists, with its runs in the order they were made."""
    held = session.get_one(Calibration, calibration)
    rows = session.execute(
        select(Run.id, Run.state, Run.error, Run.parameters)
        .where(Run.calibrates == calibration)
        .order_by(Run.id)
    ).all()
    return Job(
        calibration=calibration,
        network=held.network_id,
        solver=Solver(held.solver),
        images=held.images,
        candidates=tuple(
            Candidate(run, state, error, Parameters.from_dict(values), _batches(session, run))
            for run, state, error, values in rows
        ),
    )


def waits_for(session: Session, run: int) -> int | None:
    """The calibration that a run was made for."""
    return session.execute(select(Run.calibrates).where(Run.id == run)).scalar_one()


def store(session: Session, calibration: int, fitted: Fitted, *, now: datetime) -> None:
    """Keep what was found and make the calibration ready; the caller holds its lease."""
    advance(
        session,
        calibration,
        CalibrationState.FITTING,
        CalibrationState.READY,
        at=now,
        parameters=fitted.parameters.to_dict(),
        accuracy=fitted.accuracy,
        measured=fitted.measured,
        lease_until=None,
        error=None,
        finished_at=now,
    )


def settle(session: Session, calibration: int, decision: Again | GiveUp, *, now: datetime) -> None:
    """Hand a calibration back to be fitted again, or give it up, keeping the error."""
    target = CalibrationState.WAITING if isinstance(decision, Again) else CalibrationState.FAILED
    advance(
        session,
        calibration,
        CalibrationState.FITTING,
        target,
        at=now,
        why=decision.error,
        error=decision.error,
        lease_until=None,
        dispatched_at=now,
    )


def _batches(session: Session, run: int) -> tuple[int, ...]:
    rows = session.execute(select(Batch.id).where(Batch.run_id == run).order_by(Batch.ordinal))
    return tuple(rows.scalars())
