"""Reads and writes of calibrations and their plans."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import insert, select, update
from sqlalchemy.orm import Session

from schema.codecs.arrays import read_shape
from schema.codecs.batches import BatchRow
from schema.database.new_runs import insert_run
from schema.parameters import Parameters, Solver
from schema.shapes import ImageShape
from schema.states import PlanState, RunState
from schema.tables import (
    Batch,
    Calibration,
    CalibrationPlan,
    Embedding,
    Network,
    Problem,
    Run,
    RunSubmission,
    SampleSet,
    TrainingSet,
)
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
        refusal: why its plan failed, so that it has no runs.
    """

    calibration: int
    network: int
    solver: Solver
    images: int
    budget_us: int | None
    trained_on: int
    candidates: tuple[Candidate, ...]
    refusal: str | None = None


@dataclass(frozen=True, eq=False)
class StoredImages:
    """A row of `training_sets`: ``count`` deflated images of ``shape``, and their labels."""

    row: int
    count: int
    shape: ImageShape
    images: bytes
    labels: bytes
    sha256: str
    data: dict[str, Any] | None  # where they came from


@dataclass(frozen=True, eq=False)
class PlanJob:
    """What a calibration was asked to compare.

    Attributes:
        name: of the images.
        budget_us: of all runs together; None: any.
        settings: parameters of each run.
        offered: the images to compare on, or to draw from.
        training: the images that the network was trained on, if they are stored.
        owner: who asked by HTTP.
    """

    calibration: int
    network: int
    solver: Solver
    name: str
    budget_us: int | None
    settings: tuple[Parameters, ...]
    offered: StoredImages
    training: StoredImages | None
    owner: int | None


@dataclass(frozen=True, eq=False)
class CalibrationRun:
    """A run that a plan makes; ``digest`` is that of its content."""

    parameters: Parameters
    digest: str
    images: int
    batches: Sequence[BatchRow]


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
    plan = session.get(CalibrationPlan, calibration)
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
        refusal=plan.error if plan is not None and plan.state is PlanState.FAILED else None,
    )


def load_plan(session: Session, calibration: int) -> PlanJob:
    """Read from ``session`` the plan of ``calibration``, which exists, with its images."""
    plan, row = session.get_one(CalibrationPlan, calibration), session.get_one(Calibration, calibration)
    trained = select(Network.training_set_id).where(Network.id == row.network_id)
    training = session.execute(trained).scalar_one()
    return PlanJob(
        calibration=calibration,
        network=row.network_id,
        solver=Solver(row.solver),
        name=row.name,
        budget_us=row.budget_us,
        settings=tuple(Parameters.from_dict(values) for values in plan.settings),
        offered=_stored(session.get_one(TrainingSet, plan.training_set_id)),
        training=None if training is None else _stored(session.get_one(TrainingSet, training)),
        owner=plan.owner_id,
    )


def report_plan(session: Session, calibration: int, step: str, fraction: float, limit_s: float) -> None:
    """Store in ``session`` the ``step`` of a search for ``calibration``, and the ``fraction`` of its time."""
    session.execute(
        update(CalibrationPlan)
        .where(CalibrationPlan.id == calibration, CalibrationPlan.state == PlanState.PLANNING)
        .values(progress={"step": step, "fraction": round(fraction, 3), "limit_s": limit_s})
    )


def store_plan(
    session: Session,
    job: PlanJob,
    runs: Sequence[CalibrationRun],
    digests: bytes,
    *,
    trained_on: int,
    now: datetime,
) -> None:
    """Enqueue ``runs`` in ``session`` and end the plan of ``job`` at ``now``; the caller holds its lease.

    Args:
        digests: of the images that the runs use, sealed.
        trained_on: how many of them the network was trained on.
    """
    used = {"images": runs[0].images, "image_digests": digests, "measured": {"trained_on": trained_on}}
    session.execute(update(Calibration).where(Calibration.id == job.calibration).values(used))
    for run in runs:
        row = {
            "name": job.name,
            "data": job.offered.data if run.images == job.offered.count else None,
            "network_id": job.network,
            "solver": job.solver,
            "parameters": run.parameters.to_dict(),
            "content_sha256": run.digest,
            "budget_us": job.budget_us,
            "images": run.images,
            "batches": len(run.batches),
            "labelled": True,
            "calibrates": job.calibration,
        }
        inserted = insert_run(session, row, run.batches, now=now)
        if job.owner is not None:
            submission = {"run_id": inserted, "owner_id": job.owner, "created_at": now}
            session.execute(insert(RunSubmission).values(submission))
    complete_attempt(session, CalibrationPlan, job.calibration, now=now, progress=None)


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


def _stored(row: TrainingSet) -> StoredImages:
    shape = read_shape(row.shape, row.dtype)
    return StoredImages(row.id, row.count, shape, row.images, row.labels, row.sha256, row.data)


def _batches(session: Session, run: int) -> tuple[int, ...]:
    rows = session.execute(select(Batch.id).where(Batch.run_id == run).order_by(Batch.ordinal))
    return tuple(rows.scalars())
