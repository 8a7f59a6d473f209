"""Chooses the epoch whose weights are the result of a training."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BoolArray = NDArray[np.bool_]
FloatArray = NDArray[np.float64]

_ROUNDING = 1e-12


@dataclass(frozen=True, eq=False)
class MeasuredEpoch:
    """What an epoch is chosen by.

    Attributes:
        epoch: counted from 1.
        right: (N,), which of the images it has right.
        losses: (N,), negative log-likelihood of the right class of each image, by calibrated probabilities.
    """

    epoch: int
    right: BoolArray
    losses: FloatArray


class EpochChoice:
    """The best epoch so far: by accuracy, by the loss among equals, and of those the last one.

    The loss alone misleads: a few images that are wrong by a lot outweigh many that become right. The
    accuracy alone follows single images where few are held out. So an epoch is as good as another if it is
    not behind by more than the standard error of the difference: first in accuracy than the most accurate
    one, then in loss than the one of the lowest loss among those. All have seen the same images, so the error
    of a difference comes only from the images that differ. Of what is left the last epoch is taken, since the
    learning rate falls.

    Args:
        weights: (N,), of each image in the accuracy and in the loss, see `quality.image_weights`.
        sampled: whether the images are a sample that was not trained on. If they are not, there is no such
            error, and only equal numbers are equal.
    """

    def __init__(self, weights: FloatArray, *, sampled: bool) -> None:
        self._weights = weights
        self._errors = 1.0 if sampled else 0.0
        self._most_accurate: MeasuredEpoch | None = None
        self._lowest_loss: MeasuredEpoch | None = None

    def accuracy(self, right: BoolArray) -> float:
        """Return the weighted share of images that are ``right`` (N,)."""
        return float(self._weights @ right)

    def offer(self, new: MeasuredEpoch) -> bool:
        """Return whether the ``new`` epoch is chosen from now on."""
        most = self._most_accurate
        if most is None or self.accuracy(new.right) > self.accuracy(most.right):
            self._most_accurate = most = new
        if not self._is_as_accurate(new, most):
            return False
        lowest = self._lowest_loss
        if lowest is None or not self._is_as_accurate(lowest, most) or self._loss(new) <= self._loss(lowest):
            self._lowest_loss = lowest = new
        return self._is_small(new.losses - lowest.losses)

    def _loss(self, epoch: MeasuredEpoch) -> float:
        return float(self._weights @ epoch.losses)

    def _is_as_accurate(self, epoch: MeasuredEpoch, most: MeasuredEpoch) -> bool:
        return self._is_small(most.right.astype(np.float64) - epoch.right)

    def _is_small(self, differences: FloatArray) -> bool:
        """Return whether the weighted sum of ``differences`` (N,) is within its standard error around 0."""
        mean = float(self._weights @ differences)
        variance = float(np.square(self._weights * differences).sum())
        return mean <= self._errors * math.sqrt(variance) + _ROUNDING
