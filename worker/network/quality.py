"""How good class scores are for labelled images, also where classes have very different numbers of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from schema.network.balance import are_unbalanced

FloatArray = NDArray[np.floating]

MOST_WEIGHT = 10.0


@dataclass(frozen=True)
class Quality:
    """Figures of class scores on labelled images.

    Attributes:
        images: they are of.
        held_out: whether these were not trained on.
        unbalanced: see `is_unbalanced`.
        accuracy: share of images whose class has the highest score.
        balanced_accuracy: the mean of that share over the classes that occur.
        auc: see `mean_auc`.
    """

    images: int
    held_out: bool
    unbalanced: bool
    accuracy: float
    balanced_accuracy: float
    auc: float | None


def quality(scores: FloatArray, labels: NDArray[np.integer], *, held_out: bool, unbalanced: bool) -> Quality:
    """Return the figures of ``scores`` (N, K) of images with ``labels`` (N,); the rest is as in `Quality`."""
    right = scores.argmax(axis=1) == labels
    return Quality(
        images=len(labels),
        held_out=held_out,
        unbalanced=unbalanced,
        accuracy=float(right.mean()),
        balanced_accuracy=float(image_weights(labels, balanced=True) @ right),
        auc=mean_auc(log_odds(scores), labels),
    )


def is_unbalanced(labels: NDArray[np.integer]) -> bool:
    """Return whether classes have very different numbers of ``labels`` (N,); see `balance.py`."""
    return are_unbalanced(np.bincount(labels))


def image_weights(
    labels: NDArray[np.integer], *, balanced: bool, given: NDArray[np.float32] | None = None
) -> NDArray[np.float64]:
    """Return the weight (N,) of each image in an accuracy; they sum to 1.

    Args:
        labels: (N,).
        balanced: each class that occurs weighs the same, as in balanced accuracy.
        given: (K,) weights of an image of each class, instead of these; unless all of ``labels`` have 0.

    >>> image_weights(np.array([0, 0, 0, 2]), balanced=True).round(3).tolist()
    [0.167, 0.167, 0.167, 0.5]
    """
    if given is not None and given[labels].any():
        weights = given[labels].astype(np.float64)
        return np.asarray(weights / weights.sum())
    if not balanced:
        return np.full(len(labels), 1.0 / len(labels))
    counts = np.bincount(labels)
    return np.asarray(1.0 / (np.count_nonzero(counts) * counts[labels]))


def class_weights(labels: NDArray[np.integer], classes: int) -> NDArray[np.float32]:
    """Return the weight (K,) of an image of each of the ``classes`` at which all classes count the same.

    It is inverse to the share of the class in ``labels`` (N,), 1 for classes of the mean size, and at most
    `MOST_WEIGHT`: a few images of a tiny class would decide about whole batches.

    >>> class_weights(np.array([0, 0, 0, 0, 1, 1]), 3).tolist()
    [0.75, 1.5, 1.0]
    """
    counts = np.bincount(labels, minlength=classes)
    mean = len(labels) / max(int(np.count_nonzero(counts)), 1)
    weights = np.where(counts > 0, mean / np.maximum(counts, 1), 1.0)
    return np.minimum(weights, MOST_WEIGHT).astype(np.float32)


def mean_auc(values: FloatArray, labels: NDArray[np.integer]) -> float | None:
    """Return the area under the ROC curve, each class against the rest: the mean of the classes that occur.

    It is the share of pairs of an image of the class and one of another in which the former has the higher of
    the ``values`` (N, K) of that class, where equal ones count half. None unless ``labels`` (N,) have two
    classes.

    >>> mean_auc(np.array([[0.9, 0.1], [0.5, 0.5], [0.5, 0.5], [0.2, 0.8]]), np.array([0, 0, 1, 1]))
    0.875
    """
    present = np.unique(labels)
    if len(present) < 2:
        return None
    return float(np.mean([_auc(values[:, k], labels == k) for k in present]))


def _auc(values: FloatArray, positive: NDArray[np.bool_]) -> float:
    """Return the area by the ranks of ``values`` (N,): the statistic of Mann and Whitney."""
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2.0)[places]
    hits, misses = int(positive.sum()), int((~positive).sum())
    return float((ranks[positive].sum() - hits * (hits + 1) / 2.0) / (hits * misses))


def log_odds(scores: FloatArray) -> NDArray[np.float64]:
    """Return log(p / (1 - p)) (N, K) of the probabilities p, the softmax of ``scores`` (N, K).

    It orders images as p does, also those with a p so near to 1 that floating point has no other number.

    >>> log_odds(np.array([[100.0, 0.0, 0.0]])).round(3).tolist()
    [[99.307, -100.0, -100.0]]
    """
    rows, best = np.arange(len(scores)), scores.argmax(axis=1)
    shifted = scores - scores.max(axis=1, keepdims=True).astype(np.float64)
    others = shifted.copy()
    others[rows, best] = -np.inf
    of_best = -_log_sum(others)
    powers = np.exp(shifted)
    # Without the best class, at least half of the sum is left to each of the others.
    odds = shifted - np.log(powers.sum(axis=1, keepdims=True) - np.where(shifted < 0.0, powers, 0.0))
    odds[rows, best] = of_best
    return np.asarray(odds)


def _log_sum(values: FloatArray) -> NDArray[np.float64]:
    largest = values.max(axis=1)
    return np.asarray(largest + np.log(np.exp(values - largest[:, np.newaxis]).sum(axis=1)))
