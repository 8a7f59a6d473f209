"""Reads and writes of a network's training, and the training itself between them."""

from __future__ import annotations

import math
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from schema import arrays
from schema.architecture import Architecture
from schema.database import advance
from schema.errors import Corrupt
from schema.states import NetworkState
from schema.tables import Network, TrainingSet
from worker.context import Context
from worker.network import training, weights
from worker.retries import Again, GiveUp


@dataclass(frozen=True, eq=False)
class Job:
    """A network to train, with its training set, as the rows hold them."""

    network: int
    architecture: dict[str, Any]
    training: dict[str, Any]
    shape: tuple[int, int, int]
    images: bytes  # deflated
    labels: bytes


@dataclass(frozen=True, eq=False)
class Outcome:
    """What training gave: weights as safetensors, and metrics."""

    weights: bytes
    metrics: dict[str, Any]


def load(session: Session, network: int) -> Job:
    """Read a network that is queued for training, with its images."""
    row = session.execute(
        select(Network.architecture, Network.training, TrainingSet)
        .join(TrainingSet, TrainingSet.id == Network.training_set_id)
        .where(Network.id == network)
    ).one()
    held: TrainingSet = row.TrainingSet
    return Job(
        network=network,
        architecture=row.architecture,
        training=row.training,
        shape=(held.count, held.height, held.width),
        images=held.images,
        labels=held.labels,
    )


def store(session: Session, network: int, outcome: Outcome, *, now: datetime) -> None:
    """Keep the weights and make the network ready; the caller holds its lease."""
    advance(
        session,
        network,
        NetworkState.TRAINING,
        NetworkState.READY,
        at=now,
        weights=outcome.weights,
        weights_sha256=arrays.checksum(outcome.weights),
        metrics=outcome.metrics,
        lease_until=None,
        error=None,
        finished_at=now,
    )


def settle(session: Session, network: int, decision: Again | GiveUp, *, now: datetime) -> None:
    """Hand a network back to be trained again, or give it up, keeping the error."""
    target = NetworkState.QUEUED if isinstance(decision, Again) else NetworkState.FAILED
    advance(
        session,
        network,
        NetworkState.TRAINING,
        target,
        at=now,
        why=decision.error,
        error=decision.error,
        lease_until=None,
        dispatched_at=now,
    )


def report(session: Session, network: int, metrics: dict[str, Any]) -> None:
    """Show the metrics so far to whoever watches."""
    session.execute(
        update(Network)
        .where(Network.id == network, Network.state == NetworkState.TRAINING)
        .values(metrics=metrics)
    )


def train(context: Context, job: Job) -> Outcome:
    """Train, showing each epoch to whoever watches.

    Raises:
        Corrupt: the stored training set is damaged.
        NetworkError: the architecture cannot be trained by this transfer.
    """
    architecture = Architecture.from_dict(job.architecture)
    images = _inflate(job)
    labels = arrays.decode_labels(job.labels, job.shape[0])
    history: list[dict[str, Any]] = []

    def on_epoch(epoch: training.Epoch) -> None:
        history.append(epoch.to_dict())
        with context.database.transaction() as session:
            report(session, job.network, {"epochs": history})

    with _threads(context.settings.training_threads or os.cpu_count() or 1):
        trained = training.train(
            architecture,
            images,
            labels,
            job.training["transfer"],
            epochs=job.training["epochs"],
            seed=job.training["seed"],
            on_epoch=on_epoch,
        )
    return Outcome(weights.encode(trained.weights, architecture), trained.to_dict())


def _inflate(job: Job) -> NDArray[np.uint8]:
    size = math.prod(job.shape)
    stream = zlib.decompressobj()
    try:
        data = stream.decompress(job.images, size + 1)
    except zlib.error as error:
        raise Corrupt(f"the training set of network {job.network} is damaged: {error}") from None
    if len(data) != size:
        raise Corrupt(f"the training set of network {job.network} holds {len(data)} bytes, not {size}")
    return np.frombuffer(data, np.uint8).reshape(job.shape)


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """Let torch use ``count`` threads; sampling, which has one process per core, uses one."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
