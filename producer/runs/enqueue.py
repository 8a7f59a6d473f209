"""Turns images into a run, or into a network to train: all rows in one transaction, then one hint.

The same idempotency key gives the same run, however often and from wherever it is sent.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import numpy as np
from sqlalchemy import insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from producer.description import Description
from producer.filling import MAX_BATCH_SIZE, batch_size
from producer.images import ImageSet
from producer.networks import ChosenNetwork
from producer.versions import find_or_insert, insert_version
from schema import arrays
from schema.architecture import Architecture
from schema.database import Database, advance, note
from schema.errors import IdempotencyConflict, ImageError, ParameterError
from schema.hours import ALWAYS, Hours, shown
from schema.parameters import Parameters, Solver
from schema.states import BatchState, NetworkState, PausedBy, RunState
from schema.tables import Batch, BatchImages, Network, Run, TrainingSet

MAX_KEY = 255
MAX_BUDGET_US = 10**15  # 31 years
_DEFLATE_LEVEL = 1


@dataclass(frozen=True)
class Enqueued:
    """The row that now holds the work, and whether this call made it."""

    id: int
    created: bool


@dataclass(frozen=True)
class RunOptions:
    """How a run is to be worked on; none of it changes a result."""

    batch_size: int | None = None  # images; None: as `producer.filling` says
    priority: int = 0
    key: str | None = None
    calibrated_by: int | None = None  # the calibration that the parameters were taken from
    budget_us: int | None = None  # QPU time that the run may be charged
    hours: Hours = ALWAYS  # when the run may work

    def __post_init__(self) -> None:
        """Raises ParameterError naming the value and its limits."""
        if self.batch_size is not None and not 1 <= self.batch_size <= MAX_BATCH_SIZE:
            raise ParameterError(f"batch size is {self.batch_size}; 1 to {MAX_BATCH_SIZE:,} images")
        if not -1000 <= self.priority <= 1000:
            raise ParameterError(f"priority is {self.priority}; -1000 (last) to 1000 (first)")
        if self.budget_us is not None and not 0 < self.budget_us <= MAX_BUDGET_US:
            raise ParameterError(
                f"a budget of {self.budget_us / 1e6:g} s; more than 0, up to {MAX_BUDGET_US / 1e6:,.0f} s of "
                "QPU time"
            )
        if self.key is not None and not 1 <= len(self.key) <= MAX_KEY:
            raise ParameterError(f"an idempotency key has 1 to {MAX_KEY} characters, not {len(self.key)}")


def enqueue_run(
    database: Database,
    images: ImageSet,
    network: ChosenNetwork,
    solver: Solver,
    parameters: Parameters,
    options: RunOptions | None = None,
    also: Callable[[Session, int], None] | None = None,
) -> Enqueued:
    """Commit a run with all of its batches, or nothing.

    also: writes more about a new run, given its id, in the same transaction; what it raises undoes all.

    Raises:
        ImageError: the images do not suit the network (size, values, labels, class names).
        ParameterError: a parameter is chosen that the solver does not have, or the deadline is over.
        IdempotencyConflict: the key was used before, for other content.
    """
    parameters.check_for(solver)
    options = options or RunOptions()
    images = fit(images, network)
    size = options.batch_size
    if size is None:
        with database.reading() as session:
            size = batch_size(session, network.id, solver, parameters)
    batches = batch_rows(images, size)
    run = run_row(images, network, solver, parameters, options, len(batches))
    try:
        with database.transaction() as session:
            found = _find_or_insert(session, run, batches, now=database.now(session))
            if found.created and also is not None:
                also(session, found.id)
            return found
    except IntegrityError:
        # Another producer committed the same key between our look and our insert.
        with database.reading() as session:
            return _same_run(session, options.key, run["content_sha256"])


def enqueue_training(
    database: Database,
    architecture: Architecture,
    images: ImageSet,
    *,
    transfer: str,
    seed: int,
    epochs: int | None = None,
) -> Enqueued:
    """Commit a network to train, or find the one that was trained on exactly this before.

    Raises:
        ImageError: the images are unlabelled or do not suit the architecture.
    """
    classes = class_names(architecture, images)
    images = fit(images, ChosenNetwork.described(Description(architecture, tuple(classes))))
    if images.labels is None:
        raise ImageError(f"{images.name}: training needs labels, and it has none")
    training = {"transfer": transfer, "seed": seed, "epochs": epochs}
    pixels, labels = arrays.encode_images(images.images), arrays.encode_labels(images.labels)
    data_sha256 = arrays.training_checksum(images.images.shape, pixels, labels)
    plan = {"architecture": architecture.to_dict(), "training": training, "classes": classes}
    content = arrays.digest(arrays.canonical(plan), data_sha256.encode())
    training_set = {
        "sha256": data_sha256,
        "name": images.name,
        "count": images.images.shape[0],
        "height": images.images.shape[1],
        "width": images.images.shape[2],
        "images": zlib.compress(pixels, _DEFLATE_LEVEL),
        "labels": labels,
    }
    return find_or_insert(
        database,
        lambda session: _find_or_insert_network(
            session, plan, content, training_set, now=database.now(session)
        ),
    )


def run_row(
    images: ImageSet,
    network: ChosenNetwork,
    solver: Solver,
    parameters: Parameters,
    options: RunOptions,
    batches: int,
) -> dict[str, Any]:
    """What `runs` holds of a run over images that fit its network, in so many batches."""
    return {
        "name": images.name,
        "network_id": network.id,
        "solver": solver,
        "parameters": parameters.to_dict(),
        "priority": options.priority,
        "idempotency_key": options.key,
        "content_sha256": _run_digest(images, network, solver, parameters),
        "calibrated_by": options.calibrated_by,
        "budget_us": options.budget_us,
        "window": None if options.hours.windows is None else options.hours.windows.to_dict(),
        "deadline_at": options.hours.deadline_at,
        "images": len(images.images),
        "batches": batches,
        "labelled": images.labels is not None,
    }


@dataclass(frozen=True)
class BatchRow:
    """A batch as `batches` and `batch_images` hold it."""

    row: dict[str, Any]
    images: dict[str, Any]


def batch_rows(images: ImageSet, size: int) -> list[BatchRow]:
    """What is stored of them, ``size`` images to a batch."""
    return [
        _batch(images, ordinal, slice(ordinal * size, (ordinal + 1) * size))
        for ordinal in range(-(-len(images.images) // size))
    ]


def insert_run(session: Session, run: dict[str, Any], batches: list[BatchRow], *, now: datetime) -> int:
    """Write a run and its batches; returns its id. Outside of its windows it is paused from the start.

    Raises:
        ParameterError: its deadline is over.
    """
    if run.get("deadline_at") is not None and run["deadline_at"] <= now:
        raise ParameterError(
            f"the deadline {shown(run['deadline_at'])} is over: it is {shown(now)} by the database's clock"
        )
    stamped = {**run, "state": RunState.QUEUED, "created_at": now}
    run_id = session.execute(insert(Run).values(stamped).returning(Run.id)).scalar_one()
    _insert_batches(session, run_id, batches, now=now)
    note(session, "runs", run_id, None, RunState.QUEUED, at=now)
    hours = Hours.of(run.get("window"), None, run.get("deadline_at"))
    if not hours.is_open(now):
        why = hours.explain(now)
        values = {"paused_by": PausedBy.WINDOW, "pause_reason": why, "paused_at": now}
        advance(session, run_id, RunState.QUEUED, RunState.PAUSED, at=now, why=why, **values)
    return run_id


def _insert_batches(session: Session, run: int, batches: list[BatchRow], *, now: datetime) -> None:
    stamped = [{**batch.row, "run_id": run, "due_at": now, "created_at": now} for batch in batches]
    ids = session.execute(insert(Batch).returning(Batch.id, sort_by_parameter_order=True), stamped).scalars()
    images = [{**batch.images, "batch_id": id_} for id_, batch in zip(ids, batches, strict=True)]
    session.execute(insert(BatchImages), images)


def fit(images: ImageSet, network: ChosenNetwork) -> ImageSet:
    """Check that a network can take these images, and number their labels as it does.

    Raises:
        ImageError: says what does not fit, and what would.
    """
    height, width = images.images.shape[1:]
    if (height, width) != (network.height, network.width):
        raise ImageError(
            f"{images.name}: images are {height} x {width} pixels, network {network.name!r} takes "
            f"{network.height} x {network.width}"
        )
    brightest = int(images.images.max())
    if brightest > network.image_max:
        raise ImageError(
            f"{images.name}: pixels go up to {brightest}, "
            f"network {network.name!r} takes 0 to {network.image_max}"
        )
    if images.labels is None:
        return images
    labels = _renumber(images, network)
    if labels.max() >= len(network.classes):
        raise ImageError(
            f"{images.name}: image {int(labels.argmax())} has label {labels.max()}, "
            f"network {network.name!r} has {len(network.classes)} classes, 0 to {len(network.classes) - 1}"
        )
    return replace(images, labels=labels)


def class_names(architecture: Architecture, images: ImageSet) -> list[str]:
    """Names of an architecture's classes: the data set's own, or their numbers."""
    if images.classes is None or len(images.classes) != architecture.classes:
        return [str(k) for k in range(architecture.classes)]
    return list(images.classes)


def _renumber(images: ImageSet, network: ChosenNetwork) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Labels by the network's numbering, where both sides name their classes."""
    if images.labels is None or images.classes is None:
        return images.labels  # type: ignore[return-value]
    number_of = {name: k for k, name in enumerate(network.classes)}
    used = np.unique(images.labels)
    unknown = [images.classes[k] for k in used if images.classes[k] not in number_of]
    if unknown:
        raise ImageError(
            f"{images.name}: class {unknown[0]!r} is not known to network {network.name!r}, "
            f"which knows {', '.join(network.classes)}"
        )
    numbers = np.array([number_of.get(name, -1) for name in images.classes], dtype=np.int64)
    return numbers[images.labels]


def _run_digest(images: ImageSet, network: ChosenNetwork, solver: Solver, parameters: Parameters) -> str:
    labels = b"" if images.labels is None else arrays.encode_labels(images.labels)
    return arrays.digest(
        arrays.canonical({"network": network.id, "solver": solver, "parameters": parameters.to_dict()}),
        str(images.images.shape).encode(),
        arrays.encode_images(images.images),
        labels,
    )


def _batch(images: ImageSet, ordinal: int, part: slice) -> BatchRow:
    pixels = images.images[part]
    data = arrays.encode_images(pixels)
    labels = None if images.labels is None else arrays.encode_labels(images.labels[part])
    count, height, width = pixels.shape
    row = {
        "ordinal": ordinal,
        "first_image": part.start,
        "count": count,
        "height": height,
        "width": width,
        "state": BatchState.PENDING,
    }
    stored = {
        "images": data,
        "images_sha256": arrays.batch_checksum(data, labels),
        "labels": labels,
        "sources": None if images.sources is None else list(images.sources[part]),
    }
    return BatchRow(row, stored)


def _find_or_insert(
    session: Session, run: dict[str, Any], batches: list[BatchRow], *, now: datetime
) -> Enqueued:
    key = run["idempotency_key"]
    if key is not None and session.execute(select(Run.id).where(Run.idempotency_key == key)).first():
        return _same_run(session, key, run["content_sha256"])
    return Enqueued(insert_run(session, run, batches, now=now), created=True)


def _same_run(session: Session, key: str | None, content: str) -> Enqueued:
    row = session.execute(select(Run.id, Run.content_sha256).where(Run.idempotency_key == key)).one()
    if row.content_sha256 != content:
        raise IdempotencyConflict(
            f"idempotency key {key!r} belongs to run {row.id}, which has other images or parameters: "
            "use another key, or send exactly the same"
        )
    return Enqueued(row.id, created=False)


def _find_or_insert_network(
    session: Session,
    plan: dict[str, Any],
    content: str,
    training_set: dict[str, Any],
    *,
    now: datetime,
) -> Enqueued:
    same = select(Network.id, Network.state).where(Network.content_sha256 == content)
    found = session.execute(same).first()
    data = _keep_training_set(session, training_set, now=now)
    if found is None:
        return _insert_network(session, plan, content, data, training_set, now=now)
    if found.state is NetworkState.FAILED:
        again = {"attempts": 0, "error": None, "dispatched_at": now}
        advance(
            session, found.id, NetworkState.FAILED, NetworkState.QUEUED, at=now, why="asked again", **again
        )
    return Enqueued(found.id, created=False)


def _keep_training_set(session: Session, training_set: dict[str, Any], *, now: datetime) -> int:
    """The row of these images and labels; bytes that differ from them under their digest are damaged."""
    same = TrainingSet.sha256 == training_set["sha256"]
    data = session.execute(select(TrainingSet.id).where(same)).scalar()
    if data is None:
        statement = insert(TrainingSet).values({**training_set, "created_at": now})
        return session.execute(statement.returning(TrainingSet.id)).scalar_one()
    images, labels = training_set["images"], training_set["labels"]
    differs = (TrainingSet.images != images) | (TrainingSet.labels != labels)
    session.execute(update(TrainingSet).where(same, differs).values(images=images, labels=labels))
    return data


def _insert_network(
    session: Session,
    plan: dict[str, Any],
    content: str,
    data: int,
    training_set: dict[str, Any],
    *,
    now: datetime,
) -> Enqueued:
    values = {
        "name": plan["architecture"]["name"],
        "state": NetworkState.QUEUED,
        "content_sha256": content,
        "height": training_set["height"],
        "width": training_set["width"],
        "training_set_id": data,
        "dispatched_at": now,
        **plan,
    }
    return Enqueued(insert_version(session, values, now=now), created=True)
