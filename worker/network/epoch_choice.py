"""Chooses the epoch whose weights are the result of a training."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BoolArray = NDArray[np.bool_]

# The largest class has this many times the images of the smallest one: accuracy says little of the latter.
UNBALANCED = 2.0
_ROUNDING = 1e-9


def is_unbalanced(labels: NDArray[np.integer]) -> bool:
    """Return whether the largest class in ``labels`` (N,) has `UNBALANCED` times the images of the smallest.

    Classes without images do not count.

    >>> is_unbalanced(np.array([0, 0, 1, 4])), is_unbalanced(np.array([0, 1, 1, 2, 2]))
    (True, True)
    >>> is_unbalanced(np.array([3, 3])), is_unbalanced(np.array([0, 0, 0, 1, 1]))
    (False, False)
    """
    counts = np.bincount(labels)
    counts = counts[counts > 0]
    return bool(len(counts)) and bool(counts.max() >= UNBALANCED * counts.min())


def image_weights(labels: NDArray[np.integer], *, balanced: bool) -> NDArray[np.float64]:
    """Return the weight (N,) of each image in an accuracy; they sum to 1.

    ``balanced``: each class that occurs in ``labels`` (N,) weighs the same, as in balanced accuracy.

    >>> image_weights(np.array([0, 0, 0, 2]), balanced=True).round(3).tolist()
    [0.167, 0.167, 0.167, 0.5]
    """
    if not balanced:
        return np.full(len(labels), 1.0 / len(labels))
    counts = np.bincount(labels)
    return np.asarray(1.0 / (np.count_nonzero(counts) * counts[labels]))


@dataclass(frozen=True, eq=False)
class MeasuredEpoch:
    """What an epoch is chosen by: ``right`` (N,) says which of the images it has right."""

    epoch: int
    accuracy: float
    loss: float
    right: BoolArray


class EpochChoice:
    """The best epoch so far: that of the lowest loss among those of the highest accuracy.

    The loss alone misleads: a few images that are wrong by a lot outweigh many that become right. The
    accuracy alone follows single images where few are held out. So an epoch is as good as the one of the
    highest accuracy if it is not behind by more than the standard error of the difference, and the loss
    decides among such epochs. Both have seen the same images, so the error comes only from those that one of
    them has right and the other wrong: it is sqrt(sum of their squared weights).

    Args:
        weights: (N,), of each image in the accuracy, see `image_weights`.
        sampled: whether the images are a sample that was not trained on. If they are not, the accuracy has no
            such error, and only epochs of exactly the same accuracy are equal.
    """

    def __init__(self, weights: NDArray[np.float64], *, sampled: bool) -> None:
        self._weights = weights
        self._is_sampled = sampled
        self._highest: MeasuredEpoch | None = None
        self._chosen: MeasuredEpoch | None = None

    @property
    def epoch(self) -> int:
        """Return the number of the chosen epoch; 0: there is none yet."""
        return 0 if self._chosen is None else self._chosen.epoch

    def accuracy(self, right: BoolArray) -> float:
        """Return the weighted share of images that are ``right`` (N,)."""
        return float(self._weights @ right)

    def offer(self, epoch: int, right: BoolArray, loss: float) -> bool:
        """Return whether ``epoch``, with a ``loss`` and images ``right`` (N,), is chosen from now on."""
        new = MeasuredEpoch(epoch, self.accuracy(right), loss, right)
        if self._highest is None or new.accuracy > self._highest.accuracy:
            self._highest = new
        chosen = self._chosen
        if not self._is_equal(new, self._highest):
            return False
        # Of the same loss the later one is taken: the learning rate falls.
        if chosen is None or not self._is_equal(chosen, self._highest) or loss <= chosen.loss:
            self._chosen = new
            return True
        return False

    def _is_equal(self, epoch: MeasuredEpoch, highest: MeasuredEpoch) -> bool:
        behind = highest.accuracy - epoch.accuracy
        if not self._is_sampled or not behind:
            return behind <= 0.0
        error = float(np.sqrt((self._weights[epoch.right != highest.right] ** 2).sum()))
        return behind <= error * (1.0 + _ROUNDING)
