"""Reads and writes of a calibration. No numbers are computed here."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from schema.database import transition
from schema.parameters import Parameters, Solver
from schema.states import CalibrationState, RunState
from schema.tables import Batch, Calibration, Problem, Run, SampleSet


@dataclass(frozen=True)
class Candidate:
    """One of a calibration's runs: the validation set, sampled with one set of parameters.

    graph_ids: of the solver's graphs that it was sampled on. fixed_us, read_us: what its problems were
    charged on average, apart from reads and for each; 0 where nothing is charged.
    """

    run: int
    state: RunState
    error: str | None
    parameters: Parameters
    batches: tuple[int, ...]
    graph_ids: frozenset[str] = frozenset()
    fixed_us: float = 0.0
    read_us: float = 0.0


@dataclass(frozen=True)
class CalibrationJob:
    """A calibration with its runs. All of them made the same number of reads."""

    calibration: int
    network: int
    solver: Solver
    images: int
    candidates: tuple[Candidate, ...]


@dataclass(frozen=True)
class FittedParameters:
    """The parameters chosen, their accuracy in [0, 1] on the validation set, and all that was compared.

    graph_id: of the solver's graph that they hold for; empty for a solver without.
    """

    parameters: Parameters
    accuracy: float
    measured: dict[str, Any]
    graph_id: str = ""


def load(session: Session, calibration: int) -> CalibrationJob:
    """Read a calibration that exists, with its runs in the order they were made."""
    held = session.get_one(Calibration, calibration)
    rows = session.execute(
        select(Run.id, Run.state, Run.error, Run.parameters)
        .where(Run.calibrates == calibration)
        .order_by(Run.id)
    ).all()
    return CalibrationJob(
        calibration=calibration,
        network=held.network_id,
        solver=Solver(held.solver),
        images=held.images,
        candidates=tuple(
            Candidate(
                run,
                state,
                error,
                Parameters.from_dict(values),
                _batches(session, run),
                *_charges(session, run),
            )
            for run, state, error, values in rows
        ),
    )


def waits_for(session: Session, run: int) -> int | None:
    """The calibration that a run was made for."""
    return session.execute(select(Run.calibrates).where(Run.id == run)).scalar_one()


def store(session: Session, calibration: int, fitted: FittedParameters, *, now: datetime) -> None:
    """Keep what was found and make the calibration ready; the caller holds its lease."""
    transition(
        session,
        calibration,
        CalibrationState.FITTING,
        CalibrationState.READY,
        now=now,
        parameters=fitted.parameters.to_dict(),
        graph_id=fitted.graph_id,
        accuracy=fitted.accuracy,
        measured=fitted.measured,
        lease_until=None,
        error=None,
        finished_at=now,
    )


def _charges(session: Session, run: int) -> tuple[frozenset[str], float, float]:
    """Graphs, and charges apart from reads and for each read, of the answered problems of a run."""
    rows = session.execute(
        select(Problem.graph_id, Problem.timing, SampleSet.reads)
        .join(Batch, Batch.id == Problem.batch_id)
        .join(SampleSet, SampleSet.problem_id == Problem.id)
        .where(Batch.run_id == run, Problem.graph_id.is_not(None))
    ).all()
    if not rows:
        return frozenset(), 0.0, 0.0
    fixed = sum(timing.get("qpu_programming_time", 0.0) for _, timing, _ in rows)
    sampling = sum(timing.get("qpu_sampling_time", 0.0) / reads for _, timing, reads in rows)
    return frozenset(graph for graph, _, _ in rows), fixed / len(rows), sampling / len(rows)


def _batches(session: Session, run: int) -> tuple[int, ...]:
    rows = session.execute(select(Batch.id).where(Batch.run_id == run).order_by(Batch.ordinal))
    return tuple(rows.scalars())
