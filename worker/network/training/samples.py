"""The samples of a training: images, or vectors, and labels; some of them are held out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from worker.network.layers import NetworkModule

Indices = NDArray[np.int64]

_BATCH = 1024  # samples of a forward pass


@dataclass(frozen=True, eq=False)
class Samples:
    """Some of the samples that were given; they are read batch by batch, and not copied as a whole.

    Attributes:
        images: (M, ...), all that were given, as they are stored.
        places: (N,), which of them these are.
        labels: (N,) int64.
    """

    images: NDArray[Any]
    places: Indices
    labels: Tensor

    @classmethod
    def of(cls, images: NDArray[Any], labels: NDArray[np.integer[Any]], places: Indices) -> Samples:
        """Return those of ``images`` (M, ...), with ``labels`` (M,), that are at ``places`` (N,)."""
        return cls(images, places, torch.from_numpy(labels[places].astype(np.int64)))

    def __len__(self) -> int:
        return len(self.places)

    def inputs(self, network: NetworkModule, chosen: Indices) -> Tensor:
        """Return the input of the first layer of ``network`` for the samples ``chosen`` (B,) of these."""
        return network.pixels(torch.from_numpy(self.images[self.places[chosen]]))

    def batches(self, network: NetworkModule, most: int | None = None) -> Iterator[Tensor]:
        """Yield the inputs of the first ``most`` samples for ``network``, in order; None: of all."""
        count = len(self) if most is None else min(most, len(self))
        for start in range(0, count, _BATCH):
            yield self.inputs(network, np.arange(start, min(start + _BATCH, count)))


def split(labels: NDArray[np.integer[Any]], share: float, seed: int) -> tuple[Indices, Indices]:
    """Return the places (T,) of samples to train on, and those (V,) of a ``share`` that is held out.

    Each class with ``labels`` (N,) gives its share, up to one image. A class with one image keeps it for
    training. Both are in random order.

    >>> train, held_out = split(np.array([0] * 6 + [1] * 4 + [2]), 0.5, seed=0)
    >>> np.bincount(np.array([0] * 6 + [1] * 4 + [2])[held_out]).tolist(), len(train)
    ([3, 2], 6)
    """
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(labels))
    by_class = order[np.argsort(labels[order], kind="stable")]
    # Every 1 / share-th of them: never two neighbours, since the share is at most a half.
    steps = np.floor(np.arange(len(labels) + 1) * share)
    is_held_out = np.zeros(len(labels), np.bool_)
    is_held_out[by_class[np.diff(steps) > 0]] = True
    is_held_out &= np.bincount(labels)[labels] > 1
    return order[~is_held_out[order]], order[is_held_out[order]]
