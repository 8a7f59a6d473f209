"""Figures of runs whose classes have very different numbers of images, where accuracy says little."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from schema.codecs.arrays import decode_scores
from schema.network.balance import are_unbalanced
from worker.network import quality

_MOST_VALUES = 4_000_000  # probabilities in memory at once: images beyond do not count for the area


@dataclass(frozen=True)
class ClassBalance:
    """Figures of unbalanced classes.

    Attributes:
        balanced_accuracy: mean over the classes of the share of their images that is right.
        auc: mean area under the ROC curves of the classes, by the network's own probabilities, without reads;
            None: there are none of two classes.
        auc_images: that it is of, the first ones.
    """

    balanced_accuracy: float
    auc: float | None
    auc_images: int


def class_balance(
    counts: Sequence[tuple[int, int]], pages: Iterable[tuple[list[bytes], Sequence[int]]]
) -> ClassBalance | None:
    """Return the figures of a run, or None if its classes are balanced; see `are_unbalanced`.

    Args:
        counts: for each class with labelled images their number, and how many of them are right.
        pages: stored probabilities of labelled images, and their labels.

    Raises:
        Corrupt: stored probabilities are damaged.
    """
    images, right = np.array(counts, dtype=np.int64).reshape(-1, 2).T
    if not are_unbalanced(images):
        return None
    shares, labels, values = [], [], 0
    for stored, of_page in pages:
        part = decode_scores(stored, len(stored[0]) // 4 - 1)
        shares.append(part)
        labels.append(np.asarray(of_page))
        values += part.size
        if values >= _MOST_VALUES:
            break
    if not shares:
        return ClassBalance(float((right / images).mean()), None, 0)
    every, label = np.concatenate(shares), np.concatenate(labels)
    return ClassBalance(float((right / images).mean()), quality.mean_auc(every, label), len(every))
