"""Enqueues calibrations, and chooses the calibration of a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import insert, select
from sqlalchemy.orm import Session

from producer.calibration import overlap
from producer.calibration.grid import ParameterGrid
from producer.enqueued import Enqueued
from producer.images.imageset import ImageSet
from producer.networks.chip_limits import refuse_unfit
from producer.networks.chosen import ChosenNetwork
from producer.networks.compatibility import match_images
from producer.runs.batch_size import batch_size
from producer.runs.enqueue import batch_rows, insert_run, run_row
from producer.runs.request import RunOptions
from schema.codecs import arrays
from schema.codecs.corruption import stored_in
from schema.database import Database, record_event
from schema.errors import ImageError
from schema.network.architecture import Architecture
from schema.parameters import Parameters, Solver, Visible, fields_of, scope
from schema.quantities import count_text
from schema.states import CalibrationState
from schema.tables import Calibration, Chip, Network, Run, TrainingSet

NO_GRAPH = ""  # graph id of a solver without qubits
_PAPER_LAM = 1.0  # Higham and Bedford, 3.4


@dataclass(frozen=True)
class CalibrationChoice:
    """A finished calibration, as a run uses it."""

    id: int
    name: str  # of the validation set
    images: int
    accuracy: float
    parameters: Mapping[str, Any]
    image_digests: bytes

    def complete(self, asked: Mapping[str, Any]) -> Parameters:
        """Return the parameters ``asked`` for, completed by those of the calibration."""
        choosable = {name for name, field in fields_of(Parameters).items() if scope(field).calibrated}
        fitted = {name: value for name, value in self.parameters.items() if name in choosable}
        return Parameters.from_dict({**fitted, **asked})


def enqueue_calibration(
    database: Database,
    images: ImageSet,
    network: ChosenNetwork,
    solver: Solver,
    grid: ParameterGrid | None = None,
    budget_us: int | None = None,
    *,
    trained_on: int = 0,
) -> Enqueued:
    """Commit a calibration to ``database`` with one run for each point of ``grid``, or nothing.

    Args:
        images: the labelled validation set.
        network, solver: those that are calibrated.
        budget_us: QPU time, in microseconds, that all runs together may be charged; None: any.
        trained_on: how many of the images the network was trained on.

    Raises:
        ImageError: the images have no labels or do not suit the network.
        ParameterError: a value of the grid is out of range, or the solver does not have the parameter.
    """
    images, grid = match_images(images, network), grid or ParameterGrid()
    with database.reading() as session:
        candidates = grid.parameters(own_lams(session, network.id))
        for parameters in candidates:
            parameters.check_for(solver)
        sizes = {each: batch_size(session, network.id, solver, each) for each in candidates}
    if images.labels is None:
        raise ImageError(f"{images.name}: calibration needs labels; add a file of labels")
    row = {
        "network_id": network.id,
        "solver": solver,
        "graph_id": NO_GRAPH,
        "visible": grid.visibles[0],  # that of the chosen parameters, once they are
        "name": images.name,
        "images": len(images.images),
        "image_digests": overlap.seal(overlap.digests(images.images)),
        "budget_us": budget_us,
        "measured": {"trained_on": trained_on},
    }
    batches = {size: batch_rows(images, size) for size in set(sizes.values())}
    options = RunOptions(budget_us=budget_us)
    with database.transaction() as session:
        now = database.now(session)
        calibration = _insert(session, row, now=now)
        for parameters in candidates:
            refuse_unfit(session, network.id, solver, parameters)
            parts = batches[sizes[parameters]]
            run = run_row(images, network, solver, parameters, options, len(parts))
            insert_run(session, {**run, "calibrates": calibration}, parts, now=now)
    return Enqueued(calibration, created=True)


def own_lams(session: Session, network: int) -> dict[Visible, float | None]:
    """Return the default one-hot penalty of ``network`` by visible units; None if its weights decide."""
    row = session.execute(select(Network.architecture, Network.training).where(Network.id == network)).one()
    if row.training["transfer"] == "energy":
        return dict.fromkeys(Visible, Architecture.from_dict(row.architecture).training.lam)
    return {Visible.SAMPLED: _PAPER_LAM, Visible.FOLDED: None}


def newest_calibration(
    session: Session, network: int, solver: Solver, visible: Visible | None, qpu: str | None = None
) -> CalibrationChoice | None:
    """Return the newest calibration of ``network`` for ``solver``, and for ``visible`` unless that is None.

    For a solver with qubits it is one for the graph that the solver had last, and for the same ``qpu``.
    """
    graphs = _graphs(session, solver)
    query = select(Calibration).where(
        Calibration.network_id == network,
        Calibration.solver == solver,
        Calibration.graph_id.in_(graphs.values()),
        Calibration.state == CalibrationState.READY,
    )
    if visible is not None:
        query = query.where(Calibration.visible == visible)
    for row in session.execute(query.order_by(Calibration.id.desc())).scalars():
        if row.parameters is None:
            continue
        names = (row.parameters.get("qpu"), qpu)
        # A QPU that was renamed has another name and the same graph.
        if names[0] == names[1] or [graphs.get(name or "") for name in names] == [row.graph_id] * 2:
            return _chosen(row)
    return None


def _graphs(session: Session, solver: Solver) -> dict[str, str]:
    """Return the latest graph of each chip of ``solver``; one placeholder for a solver without qubits."""
    if not solver.is_remote:
        return {"": NO_GRAPH}
    rows = session.execute(
        select(Chip.name, Chip.graph_id).where(Chip.solver == solver).order_by(Chip.seen_at)
    )
    return {row.name: row.graph_id for row in rows}


def choose_calibration(
    session: Session, network: int, solver: Solver, asked: Mapping[str, Any], key: str | None
) -> CalibrationChoice | None:
    """Return the calibration of a run of ``network`` on ``solver`` that asks for ``asked``, or None.

    ``session`` finds the newest, but for a run that exists under ``key`` its own: so the same command and key
    are the same run, whatever was calibrated since.
    """
    if key is not None:
        query = select(Run.id, Calibration).where(Run.idempotency_key == key)
        earlier = session.execute(
            query.outerjoin_from(Run, Calibration, Calibration.id == Run.calibrated_by)
        ).first()
        if earlier is not None:
            return _chosen(earlier.Calibration)
    return newest_calibration(session, network, solver, asked.get("visible"), asked.get("qpu"))


def refuse_shared_images(images: ImageSet, test: ImageSet) -> None:
    """Raise ImageError if one of ``images``, to calibrate with, is also in ``test``."""
    shared = overlap.shared_images(overlap.digests(images.images), overlap.digests(test.images))
    if shared:
        raise ImageError(
            f"{len(shared):,} of the {count_text(len(images.images), 'image')} of {images.name} are "
            f"also in {test.name} "
            f"(the first is image {shared[0]}), and accuracy on {test.name} would be too optimistic: "
            "calibrate with other images, or accept that with --allow-overlap"
        )


def count_trained_on(session: Session, network: int, images: ImageSet) -> int:
    """Return how many of ``images`` the ``network`` was trained on; 0 if its training set is not stored."""
    row = session.execute(
        select(TrainingSet)
        .join(Network, Network.training_set_id == TrainingSet.id)
        .where(Network.id == network)
    ).scalar()
    if row is None:
        return 0
    with stored_in(f"training set {row.id}", "train again with the same images: `annealq networks train`"):
        shape = (row.count, row.height, row.width)
        training_images, _ = arrays.decode_training_set(row.images, row.labels, shape, row.sha256)
    return len(overlap.shared_images(overlap.digests(images.images), overlap.digests(training_images)))


def _insert(session: Session, row: dict[str, Any], *, now: datetime) -> int:
    stamped = {**row, "state": CalibrationState.WAITING, "created_at": now}
    statement = insert(Calibration).values(stamped).returning(Calibration.id)
    calibration = session.execute(statement).scalar_one()
    record_event(session, "calibrations", calibration, None, CalibrationState.WAITING, now=now)
    return calibration


def _chosen(row: Calibration | None) -> CalibrationChoice | None:
    if row is None or row.parameters is None or row.accuracy is None:
        return None
    with stored_in(f"calibration {row.id}", "omit it with `--no-calibration`, and calibrate again"):
        digests = overlap.unseal(row.image_digests, row.images)
    return CalibrationChoice(row.id, row.name, row.images, row.accuracy, row.parameters, digests)
