"""Computes calibrated probabilities of classes from the network's own class scores: without any reads."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from schema.codecs.arrays import decode_scores
from schema.errors import ParameterError
from schema.network.reliability import Losses, LossSums

FloatArray = NDArray[np.float64]


def probabilities(scores: FloatArray, temperature: float) -> FloatArray:
    """Return the probability (B, K) float64 of each class: softmax of scores / temperature.

    Args:
        scores: (B, K), the network's own class scores: minus free energies, or logits.
        temperature: above 0; see `schema.network.temperature`.

    Raises:
        ParameterError: a score is not finite.
    """
    if not np.isfinite(scores).all():
        raise ParameterError("the network's own class scores are not finite: train the network again")
    weights = np.exp((scores - scores.max(axis=1, keepdims=True)) / temperature)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))


def of_winners(shares: FloatArray, predicted: NDArray[np.int16]) -> FloatArray:
    """Return the probability (B,) of each winner; NaN where there is no class.

    Args:
        shares: (B, K), of all classes.
        predicted: (B,), class or -1.
    """
    chosen = shares[np.arange(len(shares)), np.maximum(predicted, 0)]
    return np.where(predicted >= 0, chosen, np.nan)


def losses(pages: Iterable[tuple[list[bytes], Sequence[int]]]) -> Losses | None:
    """Return the losses of labelled images by ``pages`` of their stored probabilities and labels.

    None if there are none. The calibration error is left out: it is made of the bins of the run.

    Raises:
        Corrupt: stored probabilities are damaged.
    """
    sums = LossSums()
    for stored, labels in pages:
        sums.add(decode_scores(stored, len(stored[0]) // 4 - 1), np.asarray(labels, dtype=np.int64))
    return sums.losses()
