"""Enqueues calibrations, and chooses the calibration of a run."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import insert, select
from sqlalchemy.orm import Session

from producer.calibration.choice import CalibrationChoice, own_lams
from producer.calibration.grid import ParameterGrid
from producer.calibration.guarantee import refuse_without_guarantee
from producer.enqueued import Enqueued
from producer.images.imageset import ImageSet
from producer.networks import versions
from producer.networks.chip_limits import least_problem_us, refuse_unfit
from producer.networks.chosen import ChosenNetwork
from producer.networks.compatibility import match_images
from producer.networks.training import store_training_set, training_set_row
from producer.runs.rescore import changed_parameters
from schema.codecs import arrays, image_digests
from schema.codecs.corruption import stored_in
from schema.database import Database, record_event
from schema.errors import IdempotencyConflict, ImageError, ParameterError
from schema.parameters import Parameters, Solver, Visible
from schema.quantities import count_text
from schema.states import CalibrationState, PlanState, RunState
from schema.tables import Calibration, CalibrationPlan, Chip, Network, Run, TrainingSet

DEFAULT_US = 2_000_000  # of QPU time, from the command line: some cents to dollars
UNFINISHED = (CalibrationState.WAITING, CalibrationState.FITTING)
_GIVEN_UP = (RunState.CANCELLED, RunState.FAILED)
NO_GRAPH = ""  # graph id of a solver without qubits


def enqueue_calibration(
    database: Database,
    images: ImageSet,
    network: ChosenNetwork,
    solver: Solver,
    grid: ParameterGrid | None = None,
    budget_us: int | None = None,
    *,
    key: str | None = None,
    owner: int | None = None,
    also: Callable[[Session, int], None] | None = None,
) -> Enqueued:
    """Commit what a calibration compares to ``database``, or nothing; a worker makes runs of it.

    The same calibration that is not finished is returned instead: it was interrupted, or sent twice.

    Args:
        images: the labelled validation set; the runs use as many of them as the budget suffices for.
        network, solver: those that are calibrated.
        grid: parameters that are compared.
        budget_us: QPU time, in microseconds, that all runs together may be charged; None: any.
        key: idempotency key; the same key is the same calibration.
        owner: who asks for it by HTTP; its runs are the owner's.
        also: given the session and the number of settings, does more in the same transaction if the
            calibration is new; an error undoes all.

    Raises:
        ImageError: the images have no labels or do not suit the network.
        ParameterError: a value of the grid is out of range, the solver or its known chips do not have it, or
            the budget does not suffice for one problem of each setting.
        IdempotencyConflict: the key was used before, for another calibration.
    """
    images, grid = match_images(images, network), grid or ParameterGrid()
    if images.labels is None:
        raise ImageError(f"{images.name}: calibration needs labels; add a file of labels")
    with database.reading() as session:
        settings = _settings(session, network.id, solver, grid, budget_us)
    training_set = training_set_row(images, images.labels)
    row = _row(images, network, solver, grid.visibles[0], budget_us)
    plan = _plan(row, settings, training_set["sha256"]) | {"idempotency_key": key, "owner_id": owner}

    def find_or_insert(session: Session) -> Enqueued:
        now = database.now(session)
        found = _find(session, row, plan, training_set["sha256"])
        if found is None:
            if also is not None:
                also(session, len(settings))
            stored = store_training_set(session, training_set, now=now)
            found = Enqueued(
                _insert(session, row, {**plan, "training_set_id": stored}, now=now), created=True
            )
        return found

    # If another producer commits the same key or images first, the second attempt finds them.
    return versions.find_or_insert(database, find_or_insert)


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


def find_calibration(database: Database, calibration: int) -> CalibrationChoice | None:
    """Return the finished ``calibration`` of ``database``, as a run uses it."""
    with database.reading() as session:
        return _chosen(session.get(Calibration, calibration))


def calibration_for_rescoring(
    session: Session, run: int, changes: Mapping[str, Any]
) -> CalibrationChoice | None:
    """Return the calibration that a run scores with that scores ``run`` again with ``changes``.

    It is that of ``run``, or else the newest for its network and solver, if it needs one for a confidence.

    Raises:
        ParameterError: it has a confidence that its calibration cannot give.
    """
    row = session.execute(select(Run).where(Run.id == run)).scalar()
    if row is None:
        return None  # who enqueues says so
    sampled = (
        row.parameters if row.rescored_from is None else session.get_one(Run, row.rescored_from).parameters
    )
    parameters, solver = changed_parameters(row.parameters, sampled, changes), Solver(row.solver)
    found = _chosen(session.get(Calibration, row.calibrated_by or 0))
    if found is None and parameters.confidence is not None:
        found = newest_calibration(session, row.network_id, solver, parameters.visible, parameters.qpu)
    refuse_without_guarantee(session, row.network_id, solver, parameters, found)
    return found


def refuse_shared_images(images: ImageSet, name: str, test: Iterable[ImageSet]) -> None:
    """Raise ImageError if one of ``images``, to calibrate with, is also in ``test``, called ``name``.

    ``test`` is all of it, or its parts one after the other.
    """
    digests = image_digests.split(image_digests.digests(images.images))
    known, found = set(digests), set[bytes]()
    for part in test:
        found |= known.intersection(image_digests.split(image_digests.digests(part.images)))
    shared = [row for row, digest in enumerate(digests) if digest in found]
    if shared:
        raise ImageError(
            f"{len(shared):,} of the {count_text(len(images.images), 'image')} of {images.name} are "
            f"also in {name} "
            f"(the first is image {shared[0]}), and accuracy on {name} would be too optimistic: "
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
        shape = arrays.read_shape(row.shape, row.dtype)
        stored = row.images, row.labels, row.count, shape, row.sha256
        training_images, _ = arrays.decode_training_set(*stored)
    return len(
        image_digests.shared_images(
            image_digests.digests(images.images), image_digests.digests(training_images)
        )
    )


def _settings(
    session: Session, network: int, solver: Solver, grid: ParameterGrid, budget_us: int | None
) -> list[Parameters]:
    """Return the settings of ``grid`` for ``network``; raise ParameterError as `enqueue_calibration` does.

    Chips that no worker has used yet are left to the worker, which finds out what all images cost.
    """
    settings = grid.parameters(own_lams(session, network))
    for parameters in settings:
        parameters.check_for(solver)
        refuse_unfit(session, network, solver, parameters)
    least_us = sum(least_problem_us(session, solver, parameters) for parameters in settings)
    if budget_us is not None and least_us > budget_us:
        raise ParameterError(
            f"a budget of {budget_us / 1e6:g} s does not suffice for one problem with each of "
            f"{count_text(len(settings), 'setting')}, which takes {least_us / 1e6:.3g} s or more: raise it, "
            "or compare fewer settings or reads"
        )
    return settings


def _row(
    images: ImageSet, network: ChosenNetwork, solver: Solver, visible: Visible, budget_us: int | None
) -> dict[str, Any]:
    return {
        "network_id": network.id,
        "solver": solver,
        "graph_id": NO_GRAPH,
        "visible": visible,  # that of the chosen parameters, once they are
        "name": images.name,
        "images": len(images.images),
        "image_digests": image_digests.seal(image_digests.digests(images.images)),
        "budget_us": budget_us,
    }


def _plan(row: Mapping[str, Any], settings: Sequence[Parameters], sha256: str) -> dict[str, Any]:
    """Return the plan of the calibration ``row`` that compares ``settings`` on images of ``sha256``."""
    values = [parameters.to_dict() for parameters in settings]
    asked = {name: row[name] for name in ("network_id", "solver", "budget_us")} | {"settings": values}
    content = arrays.digest(arrays.canonical(asked), sha256.encode())
    return {"content_sha256": content, "settings": values}


def _find(session: Session, row: Mapping[str, Any], plan: Mapping[str, Any], sha256: str) -> Enqueued | None:
    """Return the calibration with the key of ``plan``, or else an unfinished one of the same content.

    Raises:
        IdempotencyConflict: the key belongs to another one than ``row`` and images of ``sha256``.
    """
    query = select(Calibration, CalibrationPlan, TrainingSet.sha256).join(
        CalibrationPlan, CalibrationPlan.id == Calibration.id
    )
    query = query.join(TrainingSet, TrainingSet.id == CalibrationPlan.training_set_id)
    if (key := plan["idempotency_key"]) is not None:
        same = session.execute(query.where(CalibrationPlan.idempotency_key == key)).first()
        if same is None:
            return None
        earlier, stored, earlier_sha256 = same
        names = {"network_id": "network", "solver": "solver", "budget_us": "budget"}
        fields = [name for column, name in names.items() if getattr(earlier, column) != row[column]]
        fields += ["settings"] if stored.settings != json.loads(json.dumps(plan["settings"])) else []
        fields += ["images"] if earlier_sha256 != sha256 else []
        if fields:
            raise IdempotencyConflict(
                f"idempotency key {key!r} belongs to calibration {earlier.id}, a request with other values "
                f"of {', '.join(fields)}: use another key, or submit exactly the same",
                fields,
            )
        return Enqueued(earlier.id, created=False)
    given_up = select(Run.id).where(Run.calibrates == Calibration.id, Run.state.in_(_GIVEN_UP)).exists()
    alike = query.where(
        CalibrationPlan.content_sha256 == plan["content_sha256"],
        CalibrationPlan.state != PlanState.FAILED,
        CalibrationPlan.owner_id.is_not_distinct_from(plan["owner_id"]),
        Calibration.state.in_(UNFINISHED),
        ~given_up,
    )
    unfinished = session.execute(alike.order_by(Calibration.id.desc()).limit(1)).first()
    return None if unfinished is None else Enqueued(unfinished[0].id, created=False)


def _insert(session: Session, row: dict[str, Any], plan: dict[str, Any], *, now: datetime) -> int:
    stamped = {**row, "state": CalibrationState.WAITING, "created_at": now}
    statement = insert(Calibration).values(stamped).returning(Calibration.id)
    calibration = session.execute(statement).scalar_one()
    record_event(session, "calibrations", calibration, None, CalibrationState.WAITING, now=now)
    planned = {**plan, "id": calibration, "state": PlanState.QUEUED, "dispatched_at": now, "created_at": now}
    session.execute(insert(CalibrationPlan).values(planned))
    record_event(session, "calibration_plans", calibration, None, PlanState.QUEUED, now=now)
    return calibration


def _chosen(row: Calibration | None) -> CalibrationChoice | None:
    if row is None or row.parameters is None or row.accuracy is None:
        return None
    with stored_in(f"calibration {row.id}", "omit it with `--no-calibration`, and calibrate again"):
        digests = image_digests.unseal(row.image_digests, row.images)
    plans = (row.measured or {}).get("plans")
    return CalibrationChoice(
        row.id, row.name, row.images, row.accuracy, row.parameters, digests, plans, row.nonconformity
    )
