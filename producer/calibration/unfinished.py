"""Finds a calibration that was interrupted, so that the same command takes it up instead of paying twice."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from producer.calibration.enqueue import own_lams
from producer.calibration.grid import ParameterGrid
from producer.images.imageset import ImageSet
from producer.networks.chosen import ChosenNetwork
from producer.runs.enqueue import run_digest
from schema.parameters import Solver
from schema.states import CalibrationState, RunState
from schema.tables import Calibration, Run

_UNFINISHED = (CalibrationState.WAITING, CalibrationState.FITTING)
_GIVEN_UP = frozenset({RunState.CANCELLED, RunState.FAILED})


def find_unfinished(
    session: Session,
    images: ImageSet,
    network: ChosenNetwork,
    solver: Solver,
    grid: ParameterGrid,
    budget_us: int | None,
) -> int | None:
    """Return the newest unfinished calibration in ``session`` that does the same, or None.

    Args:
        images: those that match ``network``; it may use a sample of them, as a budget allows.
        solver, grid, budget_us: as for `enqueue_calibration`.
    """
    query = select(Calibration.id, Calibration.images).where(
        Calibration.network_id == network.id,
        Calibration.solver == solver,
        Calibration.budget_us.is_not_distinct_from(budget_us),
        Calibration.images <= len(images.images),
        Calibration.state.in_(_UNFINISHED),
    )
    for row in session.execute(query.order_by(Calibration.id.desc())):
        runs = session.execute(
            select(Run.state, Run.content_sha256).where(Run.calibrates == row.id).order_by(Run.id)
        ).all()
        if any(run.state in _GIVEN_UP for run in runs):
            continue
        used = images if row.images == len(images.images) else images.sample(row.images, grid.seed)
        parameters = grid.parameters(own_lams(session, network.id))
        if len(parameters) == len(runs) and all(
            run.content_sha256 == run_digest(used, network, solver, each)
            for run, each in zip(runs, parameters, strict=True)
        ):
            return int(row.id)
    return None
