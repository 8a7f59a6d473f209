"""Loads networks from the database, once in each process; reads and writes of their training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from schema.codecs import arrays
from schema.codecs.corruption import stored_in
from schema.errors import Corrupt, NotFound
from schema.network import weights
from schema.network.architecture import Architecture
from schema.network.temperature import temperature_of
from schema.shapes import ImageShape
from schema.states import NetworkState
from schema.tables import Network, TrainingSet
from worker.network.trained import TrainedNetwork

_HINT = "import its file again, or train it with another --seed"


class Registry:
    """Cache of ready networks by id. A ready network never changes, so an entry stays valid."""

    def __init__(self) -> None:
        self._loaded: dict[int, TrainedNetwork] = {}

    def get(self, session: Session, network: int) -> TrainedNetwork:
        """Return ``network`` from the cache, or load it through ``session``.

        Raises:
            NotFound: the network does not exist or is not ready.
            Corrupt: its weights do not agree with their checksum.
        """
        if network not in self._loaded:
            self._loaded[network] = _load(session, network)
        return self._loaded[network]


def _load(session: Session, network: int) -> TrainedNetwork:
    row: Any = session.execute(
        select(
            Network.architecture, Network.training, Network.weights, Network.weights_sha256, Network.metrics
        ).where(Network.id == network, Network.state == NetworkState.READY)
    ).first()
    if row is None:
        raise NotFound(f"network {network} does not exist or is not ready")
    with stored_in(f"weights of network {network}", _HINT):
        if arrays.checksum(row.weights) != row.weights_sha256:
            raise Corrupt("they are damaged: their checksum does not agree")
    architecture = Architecture.from_dict(row.architecture)
    return TrainedNetwork(
        architecture,
        weights.decode(row.weights, architecture),
        row.training["transfer"],
        temperature_of(row.metrics),
    )


@dataclass(frozen=True, eq=False)
class TrainingJob:
    """A network to train, with its training set."""

    network: int
    architecture: dict[str, Any]
    training: dict[str, Any]
    training_set: int
    sha256: str  # of the training set
    count: int  # of images
    shape: ImageShape
    images: bytes  # deflated
    labels: bytes


@dataclass(frozen=True, eq=False)
class TrainedWeights:
    """Result of a training: weights as safetensors, and metrics."""

    weights: bytes
    metrics: dict[str, Any]


def load_training(session: Session, network: int) -> TrainingJob:
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
        count=training_set.count,
        shape=arrays.read_shape(training_set.shape, training_set.dtype),
        images=training_set.images,
        labels=training_set.labels,
    )


def report_training(session: Session, network: int, metrics: dict[str, Any]) -> None:
    """Store in ``session`` the ``metrics`` of ``network`` so far, as progress for users."""
    session.execute(
        update(Network)
        .where(Network.id == network, Network.state == NetworkState.TRAINING)
        .values(metrics=metrics)
    )
