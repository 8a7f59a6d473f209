"""Calibrations: how one is enqueued, and how a run finds the one that suits it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import product
from typing import Any

from sqlalchemy import insert, select
from sqlalchemy.orm import Session

from producer.calibration import overlap
from producer.enqueued import Enqueued
from producer.images.imageset import ImageSet
from producer.networks.chosen import ChosenNetwork
from producer.networks.compatibility import match_images
from producer.runs.batch_size import batch_size
from producer.runs.enqueue import batch_rows, insert_run, run_row
from producer.runs.request import RunOptions
from schema.codecs import arrays
from schema.codecs.corruption import stored_in
from schema.database import Database, record_event
from schema.errors import ImageError, ParameterError
from schema.network.architecture import Architecture
from schema.parameters import Parameters, Solver, Visible, fields_of, scope
from schema.states import CalibrationState
from schema.tables import Calibration, Chip, Network, Run, TrainingSet

NO_GRAPH = ""  # what stands for the graph of a solver that has none
READS = 1_000  # as many as the paper made; fewer are compared from the same samples
# Multiples of the network's own one-hot penalty. Its own comes first: it wins a draw.
FACTORS = (1.0, 0.5, 2.0, 4.0)
# On a QPU every run costs: fewer reads and fewer penalties, and what only chains have.
EMBEDDED_READS = 100
EMBEDDED_FACTORS = (1.0, 2.0)
CHAIN_STRENGTHS = (1.414, 1.0)  # Ocean's prefactor first
SCALES = (1.0, 2.0)
_PAPER_LAM = 1.0  # Higham and Bedford, 3.4


@dataclass(frozen=True)
class ParameterGrid:
    """What each run of a calibration is sampled with. Reads, rule and fraction are compared afterwards.

    Attributes:
        lams: one-hot penalties; None: `FACTORS` times the network's own.
        sweeps: sweeps of the local annealer; None among them: its default.
        reads: the most reads that are considered.
        visible: what becomes of the visible units; it is not fitted.
        seed: of every run.
        factors: multiples of the network's own penalty, where ``lams`` is None.
        chain_strengths, scales: of solvers with qubits, see `Parameters`; None among them: the default.
        qpu, tiles: of solvers with qubits; they are not fitted.
    """

    lams: tuple[float, ...] | None = None
    sweeps: tuple[int | None, ...] = (None,)
    reads: int = READS
    visible: Visible = Visible.SAMPLED
    seed: int = 0
    factors: tuple[float, ...] = FACTORS
    chain_strengths: tuple[float | None, ...] = (None,)
    scales: tuple[float | None, ...] = (None,)
    qpu: str | None = None
    tiles: int | None = None

    @classmethod
    def embedded(cls, **given: Any) -> ParameterGrid:
        """For a solver with qubits; raises ParameterError where something is given that it does not have."""
        if given.get("sweeps", (None,)) != (None,):
            raise ParameterError("sweeps belong to the local annealer: leave --sweeps out")
        defaults: dict[str, Any] = {
            "reads": EMBEDDED_READS,
            "factors": EMBEDDED_FACTORS,
            "chain_strengths": CHAIN_STRENGTHS,
            "scales": SCALES,
        }
        return cls(**(defaults | given))

    def parameters(self, own_lam: float | None) -> list[Parameters]:
        """One for each run; raises ParameterError where a value is out of range or lam is not known."""
        lams = self.lams
        if lams is None:
            if own_lam is None:
                raise ParameterError(
                    "with the transfer `paper` and folded visible units the one-hot penalty comes with the "
                    "weights: name the ones to compare, --lam 1,2,4"
                )
            lams = tuple(factor * own_lam for factor in self.factors)
        fixed = Parameters(
            reads=self.reads, seed=self.seed, visible=self.visible, qpu=self.qpu, tiles=self.tiles
        )
        points = dict.fromkeys(product(lams, self.sweeps, self.chain_strengths, self.scales))
        return [
            replace(fixed, lam=lam, sweeps=sweeps, chain_strength=strength, scale=scale)
            for lam, sweeps, strength, scale in points
        ]


@dataclass(frozen=True)
class CalibrationChoice:
    """A calibration that is ready, as a run uses it."""

    id: int
    name: str  # of the validation set
    images: int
    accuracy: float
    parameters: Mapping[str, Any]
    image_digests: bytes

    def complete(self, asked: Mapping[str, Any]) -> Parameters:
        """What the user asked for, and the calibration's for the rest. A seed is never fitted."""
        known = {name for name, field in fields_of(Parameters).items() if scope(field).calibrated}
        fitted = {name: value for name, value in self.parameters.items() if name in known}
        return Parameters.from_dict({**fitted, **asked})


def enqueue_calibration(
    database: Database,
    images: ImageSet,
    network: ChosenNetwork,
    solver: Solver,
    grid: ParameterGrid | None = None,
) -> Enqueued:
    """Commit a calibration with one run for each point of the grid, or nothing.

    Raises:
        ImageError: the images are unlabelled or do not suit the network.
        ParameterError: a value of the grid is out of range, or is one that the solver does not have.
    """
    images, grid = match_images(images, network), grid or ParameterGrid()
    unfitted = grid.parameters(own_lam=1.0)
    for parameters in unfitted:
        parameters.check_for(solver)
    if images.labels is None:
        raise ImageError(f"{images.name}: calibration needs labels, and it has none")
    row = {
        "network_id": network.id,
        "solver": solver,
        "graph_id": NO_GRAPH,
        "visible": grid.visible,
        "name": images.name,
        "images": len(images.images),
        "image_digests": overlap.seal(overlap.digests(images.images)),
    }
    with database.reading() as session:
        size = batch_size(session, network.id, solver, unfitted[0])
    batches = batch_rows(images, size)
    with database.transaction() as session:
        now = database.now(session)
        candidates = grid.parameters(own_lam(session, network.id, grid.visible))
        calibration = _insert(session, row, now=now)
        for parameters in candidates:
            run = run_row(images, network, solver, parameters, RunOptions(), len(batches))
            insert_run(session, {**run, "calibrates": calibration}, batches, now=now)
    return Enqueued(calibration, created=True)


def own_lam(session: Session, network: int, visible: Visible) -> float | None:
    """The one-hot penalty that a network is sampled with by itself; None where only its weights say."""
    row = session.execute(select(Network.architecture, Network.training).where(Network.id == network)).one()
    if row.training["transfer"] == "energy":
        return Architecture.from_dict(row.architecture).training.lam
    return _PAPER_LAM if visible is Visible.SAMPLED else None


def newest_calibration(
    session: Session, network: int, solver: Solver, visible: Visible | None, qpu: str | None = None
) -> CalibrationChoice | None:
    """The newest calibration of a network for a solver; with ``visible``: among those fitted for it.

    For a solver with qubits: among those for the graph that it had when it was last met, and for the same
    choice of ``qpu``.
    """
    query = select(Calibration).where(
        Calibration.network_id == network,
        Calibration.solver == solver,
        Calibration.graph_id.in_(_graphs(session, solver)),
        Calibration.state == CalibrationState.READY,
    )
    if visible is not None:
        query = query.where(Calibration.visible == visible)
    for held in session.execute(query.order_by(Calibration.id.desc())).scalars():
        if held.parameters is not None and held.parameters.get("qpu") == qpu:
            return _fitted(held)
    return None


def _graphs(session: Session, solver: Solver) -> list[str]:
    """The graphs that a solver's chips were last met with; none at all for a solver without qubits."""
    if not solver.is_remote:
        return [NO_GRAPH]
    rows = session.execute(
        select(Chip.name, Chip.graph_id).where(Chip.solver == solver).order_by(Chip.seen_at)
    )
    return list({row.name: row.graph_id for row in rows}.values())


def choose_calibration(
    session: Session, network: int, solver: Solver, asked: Mapping[str, Any], key: str | None
) -> CalibrationChoice | None:
    """The calibration for a run: the newest, but for a run that is there already under ``key``: its own.

    So the same command with the same key is the same run, whatever was calibrated since.
    """
    if key is not None:
        query = select(Run.id, Calibration).where(Run.idempotency_key == key)
        sent = session.execute(
            query.outerjoin_from(Run, Calibration, Calibration.id == Run.calibrated_by)
        ).first()
        if sent is not None:
            return _fitted(sent.Calibration)
    return newest_calibration(session, network, solver, asked.get("visible"), asked.get("qpu"))


def refuse_shared_images(images: ImageSet, test: ImageSet) -> None:
    """Raise ImageError when an image to calibrate with is also one to test with."""
    found = overlap.shared_images(overlap.digests(images.images), overlap.digests(test.images))
    if found:
        raise ImageError(
            f"{len(found):,} of the {len(images.images):,} images of {images.name} are also in {test.name} "
            f"(the first is image {found[0]}), and accuracy on {test.name} would be too good: calibrate with "
            "other images, or accept that with --allow-overlap"
        )


def count_trained_on(session: Session, network: int, images: ImageSet) -> int:
    """How many images the network was trained on, too; 0 where its training set is not known."""
    row = session.execute(
        select(TrainingSet)
        .join(Network, Network.training_set_id == TrainingSet.id)
        .where(Network.id == network)
    ).scalar()
    if row is None:
        return 0
    with stored_in(f"training set {row.id}", "give the same images to `annealq networks train` again"):
        shape = (row.count, row.height, row.width)
        known, _ = arrays.decode_training_set(row.images, row.labels, shape, row.sha256)
    return len(overlap.shared_images(overlap.digests(images.images), overlap.digests(known)))


def _insert(session: Session, row: dict[str, Any], *, now: datetime) -> int:
    stamped = {**row, "state": CalibrationState.WAITING, "created_at": now}
    statement = insert(Calibration).values(stamped).returning(Calibration.id)
    calibration = session.execute(statement).scalar_one()
    record_event(session, "calibrations", calibration, None, CalibrationState.WAITING, now=now)
    return calibration


def _fitted(held: Calibration | None) -> CalibrationChoice | None:
    if held is None or held.parameters is None or held.accuracy is None:
        return None
    with stored_in(f"calibration {held.id}", "do without it, `--no-calibration`, and calibrate again"):
        known = overlap.unseal(held.image_digests, held.images)
    return CalibrationChoice(held.id, held.name, held.images, held.accuracy, held.parameters, known)
