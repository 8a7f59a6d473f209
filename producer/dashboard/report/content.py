"""What decides how a report or a chart of a run looks: while it is the same, neither is drawn again."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from producer.embeddings import chips
from producer.runs import queries
from schema.parameters import SampleSetRequest
from schema.tables import Batch, BatchImages, Calibration, Classification, Network, Problem, Run

_PACKAGES = ("torch", "matplotlib")


def of_report(session: Session, run: int) -> dict[str, Any]:
    """Return what decides the report of ``run`` in ``session``; raise NotFound."""
    queries.run(session, run)
    batches = select(Batch.state, func.count(), func.sum(Batch.fence), func.max(Batch.scored_at))
    problems = select(func.count(), func.max(Problem.answered_at), func.sum(Problem.charged_us))
    calibrated_by = select(Run.calibrated_by).where(Run.id == run).scalar_subquery()
    return {
        **_of_run(session, run),
        "batches": [
            tuple(row) for row in session.execute(batches.where(Batch.run_id == run).group_by(Batch.state))
        ],
        "problems": tuple(
            session.execute(
                problems.join(Batch, Batch.id == Problem.batch_id).where(Batch.run_id == run)
            ).one()
        ),
        "images": session.execute(select(func.count()).where(Classification.run_id == run)).scalar(),
        "calibration": session.execute(
            select(Calibration.accuracy, Calibration.parameters).where(Calibration.id == calibrated_by)
        ).first(),
        "alarms": sorted(chips.alarms(session).items()),
        "packages": [name for name in _PACKAGES if find_spec(name) is not None],
    }


def of_energies(session: Session, run: int, image: int) -> dict[str, Any]:
    """Return what decides what is computed of ``image`` of ``run`` in ``session``; raise NotFound."""
    queries.run(session, run)
    batch = (
        select(Batch.id, Batch.fence, Batch.sampled_at, BatchImages.images_sha256)
        .outerjoin(BatchImages, BatchImages.batch_id == Batch.id)
        .where(Batch.run_id == run, Batch.round == 1, Batch.first_image <= image)
        .order_by(Batch.first_image.desc())
        .limit(1)
    )
    return {
        **_of_run(session, run),
        "shows": ("visible", "energies"),  # earlier versions stored energies alone
        "batch": [tuple(row) for row in session.execute(batch)],
    }


def of_sample_set(session: Session, run: int, request: SampleSetRequest) -> dict[str, Any]:
    """Return what decides the sample set that ``request`` asks of ``run`` in ``session``; raise NotFound."""
    if request.image is not None:
        return of_energies(session, run, request.image)
    queries.run(session, run)
    problem = (
        select(Problem.batch_id, Problem.state, Problem.answered_at, BatchImages.images_sha256)
        .outerjoin(BatchImages, BatchImages.batch_id == Problem.batch_id)
        .where(Problem.id == request.problem)
    )
    return {
        **_of_run(session, run),
        "problem": [tuple(row) for row in session.execute(problem)],
    }


def _of_run(session: Session, run: int) -> dict[str, Any]:
    row, *network = session.execute(
        select(Run, Network.id, Network.content_sha256, Network.weights_sha256)
        .join(Network, Network.id == Run.network_id)
        .where(Run.id == run)
    ).one()
    return {
        "run": {column.name: getattr(row, column.name) for column in Run.__table__.columns},
        "network": network,
    }
