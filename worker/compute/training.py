"""Trains the network of a training job: from stored images to encoded weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from schema.codecs import arrays
from schema.codecs.corruption import stored_in
from schema.errors import Corrupt
from schema.network import weights
from schema.network.architecture import Architecture
from schema.shapes import InputArray
from worker.network import training
from worker.network.features import join_inputs
from worker.records.networks import TrainedWeights, TrainingJob

_TRAIN_AGAIN = "give the same images to `annealq networks train` again"


def train(
    job: TrainingJob,
    threads: int,
    on_epoch: Callable[[list[dict[str, Any]]], None],
    check_interrupt: Callable[[], None],
) -> TrainedWeights:
    """Train the network of ``job``.

    Args:
        threads: that torch may use.
        on_epoch: called with the metrics of all epochs so far.
        check_interrupt: called before every few images; what it raises ends the training.

    Raises:
        Corrupt: the stored training set is damaged.
        NetworkError: the architecture cannot be trained by this transfer.
    """
    architecture = Architecture.from_dict(job.architecture)
    with stored_in(f"training set {job.training_set}", _TRAIN_AGAIN):
        images, labels = _images_and_labels(job, architecture)
    history: list[dict[str, Any]] = []

    def store(epoch: training.Epoch) -> None:
        history.append(epoch.to_dict())
        on_epoch(history)

    def should_stop() -> bool:
        check_interrupt()
        return False

    with _threads(threads):
        trained = training.train(
            architecture,
            images,
            labels,
            job.training["transfer"],
            epochs=job.training["epochs"],
            seed=job.training["seed"],
            on_epoch=store,
            should_stop=should_stop,
        )
    return TrainedWeights(weights.encode(trained.weights, architecture), trained.to_dict())


def _images_and_labels(job: TrainingJob, architecture: Architecture) -> tuple[InputArray, NDArray[np.int16]]:
    """Return what the trained layers take, and the labels (N,); raise Corrupt if they are damaged."""
    images, labels = None, arrays.decode_labels(job.labels, job.count)
    if architecture.sees_images:
        images, labels = arrays.decode_training_set(job.images, job.labels, job.count, job.shape, job.sha256)
    if len(job.vectors) != len(architecture.backbones):
        raise Corrupt("its feature vectors are missing")
    return join_inputs(job.vectors, images), labels


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """Let torch use ``count`` threads; sampling has one process per core, and uses one."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
