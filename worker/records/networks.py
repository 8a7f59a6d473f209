"""Loads networks from the database, once in each process; reads and writes of their training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import select, update
from sqlalchemy.orm import Session, defer

from schema.codecs import arrays
from schema.codecs.corruption import stored_in
from schema.errors import Corrupt, NotFound
from schema.network.architecture import Architecture
from schema.network.recipes import Recipe
from schema.shapes import ImageShape
from schema.states import NetworkState
from schema.tables import Network, TrainingSet
from worker.network.trained import TrainedNetwork
from worker.records.features import feature_sets

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
    return TrainedNetwork.of(architecture, row.weights, row.training["transfer"], row.metrics)


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
    images: bytes  # deflated; empty if no trained layer sees them
    labels: bytes
    vectors: tuple[NDArray[np.float16], ...] = ()  # (N, D) of each of its backbones


@dataclass(frozen=True, eq=False)
class TrainedWeights:
    """Result of a training: weights as safetensors, and metrics."""

    weights: bytes
    metrics: dict[str, Any]


def load_training(session: Session, network: int) -> TrainingJob:
    """Read from ``session`` a ``network`` to train, with what its trained layers see of its images."""
    row = session.execute(
        select(Network.architecture, Network.training, TrainingSet)
        .join(TrainingSet, TrainingSet.id == Network.training_set_id)
        .options(defer(TrainingSet.images))
        .where(Network.id == network)
    ).one()
    training_set: TrainingSet = row.TrainingSet
    architecture = Architecture.from_dict(row.architecture)
    sets = feature_sets.sets_of_network(session, network)
    vectors = []
    if feature_sets.error_of(session, sets.values()) is None:
        for layer in architecture.backbones:
            stored = sets.get(Recipe.of(layer).digest)
            if stored is not None and (found := feature_sets.load_vectors(session, stored)) is not None:
                vectors.append(found)
    return TrainingJob(
        network=network,
        architecture=row.architecture,
        training=row.training,
        training_set=training_set.id,
        sha256=training_set.sha256,
        count=training_set.count,
        shape=arrays.read_shape(training_set.shape, training_set.dtype),
        images=training_set.images if architecture.sees_images else b"",
        labels=training_set.labels,
        vectors=tuple(vectors),
    )


def feature_failure(session: Session, network: int) -> str | None:
    """Return why the vectors of the training set of ``network`` in ``session`` failed; None: they did not."""
    return feature_sets.error_of(session, feature_sets.sets_of_network(session, network).values())


def report_training(session: Session, network: int, metrics: dict[str, Any]) -> None:
    """Store in ``session`` the ``metrics`` of ``network`` so far, as progress for users."""
    session.execute(
        update(Network)
        .where(Network.id == network, Network.state == NetworkState.TRAINING)
        .values(metrics=metrics)
    )
