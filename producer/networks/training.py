"""Enqueues a network to train, or finds the one that was trained on exactly this before."""

from __future__ import annotations

import zlib
from datetime import datetime
from typing import Any

from sqlalchemy import insert, select, update
from sqlalchemy.orm import Session

from producer.enqueued import Enqueued
from producer.images.imageset import ImageSet
from producer.networks.chosen import ChosenNetwork
from producer.networks.compatibility import class_names, fit
from producer.networks.description import describe
from producer.networks.versions import find_or_insert, insert_version
from schema.codecs import arrays
from schema.database import Database, transition
from schema.errors import ImageError
from schema.network.architecture import Architecture
from schema.states import NetworkState
from schema.tables import Network, TrainingSet

_DEFLATE_LEVEL = 1


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
    images = fit(images, ChosenNetwork.described(describe(architecture, classes)))
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
        again = {"attempts": 0, "error": None, "dispatched_at": now, "finished_at": None}
        transition(
            session, found.id, NetworkState.FAILED, NetworkState.QUEUED, now=now, why="asked again", **again
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
