"""The network's own class scores and classes, without any sampling: the classical baseline."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from schema.network.architecture import Architecture
from schema.network.weights import Weights
from schema.shapes import ImageArray
from worker.network.features import block_size, forward, restore
from worker.network.objective import class_scores, feature_scores
from worker.network.trained import TrainedNetwork
from worker.network.transfer import check_transfer


def scores(
    architecture: Architecture, weights: Weights, images: ImageArray, transfer: str
) -> NDArray[np.float64]:
    """Return the own class scores (B, K) float64 of a network with ``architecture`` and trained ``weights``.

    ``images`` are as it takes them, ``transfer`` is ``paper`` or ``energy``; see `objective.class_scores`.

    Raises:
        ImageError: as for `features`.
        NetworkError: an unknown transfer.
    """
    check_transfer(transfer)
    network = restore(architecture, weights)
    return forward(network, images, lambda x: class_scores(network, x, transfer), architecture.classes)


def scores_of_features(network: TrainedNetwork, features: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the own class scores (B, K) float64 of ``network`` for ``features`` (B, nv); see `scores`."""
    block = block_size(network.architecture)
    out = np.empty((len(features), network.architecture.classes))
    with torch.no_grad():
        for start in range(0, len(features), block):
            part = torch.from_numpy(features[start : start + block]).float()
            out[start : start + block] = feature_scores(network.module, part, network.transfer).numpy()
    return out


def classify(
    architecture: Architecture, weights: Weights, images: ImageArray, transfer: str = "energy"
) -> NDArray[np.int64]:
    """Return the network's own classes (B,) int64, without any sampling.

    ``architecture``, ``weights``, ``images`` and ``transfer`` are as for `scores`.
    """
    best: NDArray[np.int64] = scores(architecture, weights, images, transfer).argmax(axis=1)
    return best
