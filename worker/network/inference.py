"""The network's own class scores and classes, without any sampling: the classical baseline."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from schema.network.architecture import Architecture
from schema.network.weights import Weights
from schema.shapes import InputArray
from worker.network.features import forward, restore
from worker.network.transfer import check_transfer

if TYPE_CHECKING:
    from torch import Tensor

    from worker.network.layers import Names


def scores(
    architecture: Architecture, weights: Weights, images: InputArray, transfer: str, without: Names = ()
) -> NDArray[np.float64]:
    """Return the own class scores (B, K) float64 of a network with ``architecture`` and trained ``weights``.

    ``images`` are as it takes them, ``transfer`` is ``paper`` or ``energy``. Sources ``without`` which it
    does have features 0. See `objective.class_scores`.

    Raises:
        ImageError: as for `features`.
        NetworkError: an unknown transfer.
    """
    from worker.network.objective import class_scores

    check_transfer(transfer)
    network = restore(architecture, weights)

    def own(pixels: Tensor) -> Tensor:
        return class_scores(network, pixels, transfer, without)

    return forward(network, images, own, architecture.classes)


def classify(
    architecture: Architecture,
    weights: Weights,
    images: InputArray,
    transfer: str = "energy",
    without: Names = (),
) -> NDArray[np.int64]:
    """Return the network's own classes (B,) int64, without any sampling.

    ``architecture``, ``weights``, ``images``, ``transfer`` and ``without`` are as for `scores`.
    """
    best: NDArray[np.int64] = scores(architecture, weights, images, transfer, without).argmax(axis=1)
    return best
