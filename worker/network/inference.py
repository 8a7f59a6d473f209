"""The network's own class scores and classes, without any sampling: the classical baseline."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from schema.network.architecture import Architecture
from schema.network.weights import Weights
from worker.network.features import forward, restore
from worker.network.objective import class_scores
from worker.network.transfer import check_transfer


def scores(
    architecture: Architecture, weights: Weights, images: NDArray[np.uint8], transfer: str
) -> NDArray[np.float64]:
    """Return the own class scores (B, K) float64 of a network with ``architecture`` and trained ``weights``.

    ``images`` are (B, H, W) uint8, ``transfer`` is ``paper`` or ``energy``; see `objective.class_scores`.

    Raises:
        ImageError: as for `features`.
        NetworkError: an unknown transfer.
    """
    check_transfer(transfer)
    network = restore(architecture, weights)
    return forward(network, images, lambda x: class_scores(network, x, transfer), architecture.classes)


def classify(
    architecture: Architecture, weights: Weights, images: NDArray[np.uint8], transfer: str = "energy"
) -> NDArray[np.int64]:
    """Return the network's own classes (B,) int64, without any sampling.

    ``architecture``, ``weights``, ``images`` and ``transfer`` are as for `scores`.
    """
    best: NDArray[np.int64] = scores(architecture, weights, images, transfer).argmax(axis=1)
    return best
