"""Enqueues the training of a network, unless it was trained on exactly this before."""

from __future__ import annotations

import zlib
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import delete, insert, select, update
from sqlalchemy.orm import Session

from producer.enqueued import Enqueued
from producer.images.imageset import ImageSet
from producer.networks.chosen import ChosenNetwork
from producer.networks.compatibility import class_names, match_images
from producer.networks.description import describe
from producer.networks.versions import find_or_insert, insert_version
from schema.codecs import arrays
from schema.database import Database, transition
from schema.database.feature_requests import ask, requests_of
from schema.errors import ImageError
from schema.network.architecture import Architecture
from schema.parameters.choices import Origin
from schema.states import NetworkState
from schema.tables import Network, NetworkFeatures, TrainingSet

_DEFLATE_LEVEL = 1


def enqueue_training(
    database: Database,
    architecture: Architecture,
    images: ImageSet,
    *,
    transfer: str,
    seed: int,
    epochs: int | None = None,
    origin: Origin = Origin.TRAINED,
) -> Enqueued:
    """Commit a network to train, or find the one that was trained on exactly this before.

    Args:
        database: where the row is stored.
        architecture: the layers.
        images: labelled.
        transfer: energy or paper.
        seed: the same seed gives the same weights.
        epochs: None: those of the architecture.
        origin: trained for a user, or for an experiment.

    Raises:
        ImageError: the images are unlabelled or do not suit the architecture.
    """
    classes = class_names(architecture, images)
    images = match_images(images, ChosenNetwork.described(describe(architecture, classes)))
    if images.labels is None:
        raise ImageError(f"{images.name}: training needs labels, and it has none")
    training = {"transfer": transfer, "seed": seed, "epochs": epochs}
    training_set = training_set_row(images, images.labels)
    plan = {"architecture": architecture.to_dict(), "training": training, "classes": classes}
    values: dict[str, Any] = {
        **plan,
        "name": architecture.name,
        "state": NetworkState.QUEUED,
        "content_sha256": arrays.digest(arrays.canonical(plan), training_set["sha256"].encode()),
        **images.shape.row(),
    }
    if origin is not Origin.TRAINED:
        values["training"] = {**training, "origin": origin.value}
    return find_or_insert(
        database, lambda session: _find_or_insert(session, values, training_set, now=database.now(session))
    )


def training_set_row(images: ImageSet, labels: NDArray[np.int64]) -> dict[str, Any]:
    """Return the row of ``images`` and their ``labels`` (N,), without a time."""
    pixels, encoded = arrays.encode_images(images.images), arrays.encode_labels(labels)
    count, shape = len(images.images), images.shape
    return {
        "sha256": arrays.training_checksum(count, shape, pixels, encoded),
        "name": images.name,
        "data": images.stored_origin,
        "count": count,
        **shape.row(),
        "images": zlib.compress(pixels, _DEFLATE_LEVEL),
        "labels": encoded,
    }


def store_training_set(session: Session, training_set: dict[str, Any], *, now: datetime) -> int:
    """Return the row of these images and labels; replace bytes that differ under their digest: damage."""
    same = TrainingSet.sha256 == training_set["sha256"]
    row = session.execute(select(TrainingSet.id).where(same)).scalar()
    if row is None:
        statement = insert(TrainingSet).values({**training_set, "created_at": now})
        return session.execute(statement.returning(TrainingSet.id)).scalar_one()
    images, labels = training_set["images"], training_set["labels"]
    if training_set["data"] is not None:  # where they are now
        session.execute(update(TrainingSet).where(same).values(data=training_set["data"]))
    differs = (TrainingSet.images != images) | (TrainingSet.labels != labels)
    session.execute(update(TrainingSet).where(same, differs).values(images=images, labels=labels))
    return row


def _find_or_insert(
    session: Session, values: dict[str, Any], training_set: dict[str, Any], *, now: datetime
) -> Enqueued:
    same = select(Network.id, Network.state).where(Network.content_sha256 == values["content_sha256"])
    network = session.execute(same.add_columns(Network.training)).first()
    training_set_id = store_training_set(session, training_set, now=now)
    requests = requests_of(session, Architecture.from_dict(values["architecture"]))

    def ask_features(row: int) -> None:
        asked = ask(session, requests, training_set["sha256"], training_set["count"], now=now)
        session.execute(delete(NetworkFeatures).where(NetworkFeatures.network_id == row))
        if requests:
            session.execute(insert(NetworkFeatures), asked.links_to(NetworkFeatures, row))

    if network is None:
        row = {**values, "training_set_id": training_set_id, "dispatched_at": now}
        new = insert_version(session, row, now=now)
        ask_features(new)
        return Enqueued(new, created=True)
    if "origin" in network.training and "origin" not in values["training"]:
        # What an experiment trained is now wanted for itself.
        session.execute(update(Network).where(Network.id == network.id).values(training=values["training"]))
    if network.state is NetworkState.FAILED:
        again: dict[str, Any] = {"attempts": 0, "error": None, "dispatched_at": now, "finished_at": None}
        ask_features(network.id)
        move = (session, network.id, NetworkState.FAILED, NetworkState.QUEUED)
        transition(*move, now=now, why="asked again", **again)
    return Enqueued(network.id, created=False)
