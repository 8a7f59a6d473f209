"""Linear terms of a batch's images: the part of the energy function that differs from image to image."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import TYPE_CHECKING

import numpy as np
from cachetools import LRUCache
from numpy.typing import NDArray

from schema.shapes import InputArray
from worker.qubo.energy_model import EnergyModel

if TYPE_CHECKING:
    from worker.network.trained import TrainedNetwork

# Images are always computed in these blocks: so an image has the same bits whatever else is asked for.
_BLOCK = 128
_LATEST = 4


class LinearTerms:
    """Computes linear terms in blocks, when first asked for: the first problem waits for few images."""

    def __init__(self, network: TrainedNetwork, model: EnergyModel, images: InputArray) -> None:
        """Prepare for ``images``, as ``network`` takes them, under its energy ``model``."""
        self.model = model
        self._network, self._images = network, images
        self._linear = np.empty((len(images), model.units))
        self._features = np.empty((len(images), model.feature_count))
        self._computed = 0

    @classmethod
    def known(cls, network: TrainedNetwork, model: EnergyModel, features: NDArray[np.float64]) -> LinearTerms:
        """Return the linear terms, under ``model``, of images whose ``features`` (B, nv) are known.

        They are those that ``network`` gives.

        Raises:
            NetworkError: the features have another width or are not finite.
        """
        terms = cls(network, model, features.astype(np.float32))
        terms._linear[:], terms._features[:] = model.linear(features), features
        terms._computed = len(features)
        return terms

    def __len__(self) -> int:
        """Return the number of images in the batch, B."""
        return len(self._images)

    def take(self, images: slice) -> NDArray[np.float64]:
        """Return the linear terms (b, n) float64 of the slice ``images`` of the batch.

        Raises:
            ImageError: the network takes no such images.
        """
        self._compute(images)
        return self._linear[images]

    def features(self, images: slice) -> NDArray[np.float64]:
        """Return the feature values (b, nv) float64 of the slice ``images`` of the batch.

        Raises:
            ImageError: the network takes no such images.
        """
        self._compute(images)
        return self._features[images]

    def _compute(self, images: slice) -> None:
        _, stop, _ = images.indices(len(self))
        while self._computed < stop:
            block = slice(self._computed, self._computed + _BLOCK)
            self._features[block] = self._network.features(self._images[block])
            self._linear[block] = self.model.linear(self._features[block])
            self._computed = min(block.stop, len(self))


LinearTermsCache = MutableMapping[tuple[EnergyModel, str], LinearTerms]
"""Linear terms by model and checksum of the images."""


def make_cache() -> LinearTermsCache:
    """Return a cache for the batches used last: a worker that samples a batch often scores it, too."""
    return LRUCache(maxsize=_LATEST)
