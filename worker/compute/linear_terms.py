"""Linear parts of a batch's images: what is different in each image's energy function."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from worker.network.trained import TrainedNetwork
    from worker.qubo.energy_model import EnergyModel

# So many images are computed at a time, whoever asks: an image has the same bits whatever else is asked for.
_BLOCK = 128
_LATEST = 4


class LinearTerms:
    """Computed a block at a time, when first asked for: the first problem waits for no other's images."""

    def __init__(self, network: TrainedNetwork, model: EnergyModel, images: NDArray[np.uint8]) -> None:
        """images: (B, H, W) uint8, as the network takes them."""
        self.model = model
        self._network, self._images = network, images
        self._linear = np.empty((len(images), model.units))
        self._known = 0

    def __len__(self) -> int:
        """Images in the batch, B."""
        return len(self._images)

    def take(self, images: slice) -> NDArray[np.float64]:
        """Linear parts (b, n) float64 of some images.

        Raises:
            ImageError: the network takes no such images.
        """
        _, stop, _ = images.indices(len(self))
        while self._known < stop:
            block = slice(self._known, self._known + _BLOCK)
            self._linear[block] = self.model.linear(self._network.features(self._images[block]))
            self._known = min(block.stop, len(self))
        return self._linear[images]


class LinearTermsCache:
    """Those of the latest few batches: who has sampled a batch often scores it, too."""

    def __init__(self) -> None:
        self._held: OrderedDict[tuple[EnergyModel, str], LinearTerms] = OrderedDict()

    def of(
        self, network: TrainedNetwork, model: EnergyModel, images: NDArray[np.uint8], digest: str
    ) -> LinearTerms:
        """The linear parts of images whose checksum is ``digest``, under one of the network's models."""
        key = (model, digest)
        if key not in self._held:
            self._held[key] = LinearTerms(network, model, images)
            if len(self._held) > _LATEST:
                self._held.popitem(last=False)
        return self._held[key]
