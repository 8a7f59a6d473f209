"""Reads and writes of a network's training. No numbers are computed here."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from schema.codecs import arrays
from schema.database import transition
from schema.states import NetworkState
from schema.tables import Network, TrainingSet


@dataclass(frozen=True, eq=False)
class TrainingJob:
    """A network to train, with its training set, as the rows hold them."""

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
    """What training gave: weights as safetensors, and metrics."""

    weights: bytes
    metrics: dict[str, Any]


def load(session: Session, network: int) -> TrainingJob:
    """Read a network that is queued for training, with its images."""
    row = session.execute(
        select(Network.architecture, Network.training, TrainingSet)
        .join(TrainingSet, TrainingSet.id == Network.training_set_id)
        .where(Network.id == network)
    ).one()
    held: TrainingSet = row.TrainingSet
    return TrainingJob(
        network=network,
        architecture=row.architecture,
        training=row.training,
        training_set=held.id,
        sha256=held.sha256,
        shape=(held.count, held.height, held.width),
        images=held.images,
        labels=held.labels,
    )


def store(session: Session, network: int, outcome: TrainedWeights, *, now: datetime) -> None:
    """Keep the weights and make the network ready; the caller holds its lease."""
    transition(
        session,
        network,
        NetworkState.TRAINING,
        NetworkState.READY,
        now=now,
        weights=outcome.weights,
        weights_sha256=arrays.checksum(outcome.weights),
        metrics=outcome.metrics,
        lease_until=None,
        error=None,
        finished_at=now,
    )


def report(session: Session, network: int, metrics: dict[str, Any]) -> None:
    """Show the metrics so far to whoever watches."""
    session.execute(
        update(Network)
        .where(Network.id == network, Network.state == NetworkState.TRAINING)
        .values(metrics=metrics)
    )
