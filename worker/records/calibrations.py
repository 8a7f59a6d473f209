"""Reads and writes of calibrations."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from schema.parameters import Parameters, Solver
from schema.states import RunState
from schema.tables import Batch, Calibration, Embedding, Problem, Run, SampleSet
from worker.records import spending
from worker.records.attempts import complete_attempt


@dataclass(frozen=True)
class Candidate:
    """A run of a calibration: the validation set, sampled with one set of parameters.

    Attributes:
        graph_ids: the solver's graphs that it was sampled on.
        fixed_us: average charge of a problem apart from its reads; 0 if nothing is charged.
        read_us: average charge of a read.
        tiles: images in a full problem.
        spent_us: what the run was charged.
    """

    run: int
    state: RunState
    error: str | None
    parameters: Parameters
    batches: tuple[int, ...]
    graph_ids: frozenset[str] = frozenset()
    fixed_us: float = 0.0
    read_us: float = 0.0
    tiles: int = 1
    spent_us: float = 0.0


@dataclass(frozen=True)
class CalibrationJob:
    """A calibration with its runs, which all have the same number of reads.

    Attributes:
        trained_on: how many of its images the network was trained on.
    """

    calibration: int
    network: int
    solver: Solver
    images: int
    budget_us: int | None
    trained_on: int
    candidates: tuple[Candidate, ...]


@dataclass(frozen=True)
class FittedParameters:
    """Result of a calibration.

    Attributes:
        accuracy: of the parameters on the validation set, in [0, 1].
        measured: figures of every candidate.
        graph_id: the solver's graph that the parameters are valid for; empty for a solver without graph.
        nonconformity: of its images, see `schema.codecs.nonconformity`.
    """

    parameters: Parameters
    accuracy: float
    measured: dict[str, Any]
    graph_id: str = ""
    nonconformity: bytes | None = None


def load(session: Session, calibration: int) -> CalibrationJob:
    """Read from ``session`` the ``calibration``, which exists, with its runs, oldest first."""
    row = session.get_one(Calibration, calibration)
    rows = session.execute(
        select(Run.id, Run.state, Run.error, Run.parameters)
        .where(Run.calibrates == calibration)
        .order_by(Run.id)
    ).all()
    return CalibrationJob(
        calibration=calibration,
        network=row.network_id,
        solver=Solver(row.solver),
        images=row.images,
        budget_us=row.budget_us,
        trained_on=(row.measured or {}).get("trained_on", 0),
        candidates=tuple(
            Candidate(
                run,
                state,
                error,
                Parameters.from_dict(values),
                _batches(session, run),
                *_charges(session, run),
                spending.of_run(session, run),
            )
            for run, state, error, values in rows
        ),
    )


def waits_for(session: Session, run: int) -> int | None:
    """Read from ``session`` the calibration that ``run`` belongs to; None if it belongs to none."""
    return session.execute(select(Run.calibrates).where(Run.id == run)).scalar_one()


def store(session: Session, calibration: int, fitted: FittedParameters, *, now: datetime) -> None:
    """Store ``fitted`` in ``session`` and make ``calibration``, whose lease is held, ready at ``now``."""
    names = ("graph_id", "accuracy", "measured", "nonconformity")
    values = {name: getattr(fitted, name) for name in names} | {"parameters": fitted.parameters.to_dict()}
    values["visible"] = fitted.parameters.visible
    complete_attempt(session, Calibration, calibration, now=now, **values)


def _charges(session: Session, run: int) -> tuple[frozenset[str], float, float, int]:
    """Return graphs, average charge apart from reads and of a read, and tiles, of a run's problems."""
    rows = session.execute(
        select(Problem.graph_id, Problem.timing, SampleSet.reads, Embedding.tiles)
        .join(Batch, Batch.id == Problem.batch_id)
        .join(SampleSet, SampleSet.problem_id == Problem.id)
        .join(Embedding, Embedding.id == Problem.embedding_id)
        .where(Batch.run_id == run, Problem.graph_id.is_not(None))
    ).all()
    if not rows:
        return frozenset(), 0.0, 0.0, 1
    fixed = sum((row.timing or {}).get("qpu_programming_time", 0.0) for row in rows)
    sampling = sum((row.timing or {}).get("qpu_sampling_time", 0.0) / row.reads for row in rows)
    graphs = frozenset(row.graph_id for row in rows)
    return graphs, fixed / len(rows), sampling / len(rows), max(row.tiles or 1 for row in rows)


def _batches(session: Session, run: int) -> tuple[int, ...]:
    rows = session.execute(select(Batch.id).where(Batch.run_id == run).order_by(Batch.ordinal))
    return tuple(rows.scalars())
