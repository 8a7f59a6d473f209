"""Reads and writes of the training of networks."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from schema.codecs import arrays
from schema.states import NetworkState
from schema.tables import Network, TrainingSet
from worker.records.attempts import complete_attempt


@dataclass(frozen=True, eq=False)
class TrainingJob:
    """A network to train, with its training set."""

    network: int
    architecture: dict[str, Any]
    training: dict[str, Any]
    training_set: int
    sha256: str  # of the training set
    shape: tuple[int, int, int]
    images: bytes  # deflated
    labels: bytes


@dataclass(frozen=True, eq=False)
class TrainedWeights:
    """Result of a training: weights as safetensors, and metrics."""

    weights: bytes
    metrics: dict[str, Any]


def load(session: Session, network: int) -> TrainingJob:
    """Read from ``session`` a ``network`` to train, with its images."""
    row = session.execute(
        select(Network.architecture, Network.training, TrainingSet)
        .join(TrainingSet, TrainingSet.id == Network.training_set_id)
        .where(Network.id == network)
    ).one()
    training_set: TrainingSet = row.TrainingSet
    return TrainingJob(
        network=network,
        architecture=row.architecture,
        training=row.training,
        training_set=training_set.id,
        sha256=training_set.sha256,
        shape=(training_set.count, training_set.height, training_set.width),
        images=training_set.images,
        labels=training_set.labels,
    )


def store(session: Session, network: int, trained: TrainedWeights, *, now: datetime) -> None:
    """Store ``trained`` in ``session`` and make ``network`` ready at ``now``; the caller holds its lease."""
    values = {"weights": trained.weights, "weights_sha256": arrays.checksum(trained.weights)}
    complete_attempt(session, Network, network, now=now, metrics=trained.metrics, **values)


def report(session: Session, network: int, metrics: dict[str, Any]) -> None:
    """Store in ``session`` the ``metrics`` of ``network`` so far, as progress for users."""
    session.execute(
        update(Network)
        .where(Network.id == network, Network.state == NetworkState.TRAINING)
        .values(metrics=metrics)
    )
