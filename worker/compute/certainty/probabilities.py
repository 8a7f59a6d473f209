"""Computes calibrated probabilities of classes from the network's own class scores: without any reads."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from schema.codecs.arrays import decode_scores
from schema.errors import ParameterError

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


@dataclass(frozen=True)
class ProbabilityLosses:
    """How far the probabilities of all classes are from the labels: proper scoring rules; lower is better.

    Attributes:
        negative_log_likelihood: mean over images of -log of the probability of the right class.
        brier_score: mean over images of the sum over classes of (probability - 1 if it is right)^2, from 0 to
            2 (Brier 1950, Verification of forecasts expressed in terms of probability).
    """

    negative_log_likelihood: float
    brier_score: float


def losses(pages: Iterable[tuple[list[bytes], Sequence[int]]]) -> ProbabilityLosses | None:
    """Return the losses of labelled images by ``pages`` of their stored probabilities and labels.

    None if there are none.

    Raises:
        Corrupt: stored probabilities are damaged.
    """
    images, likelihood, brier = 0, 0.0, 0.0
    for stored, labels in pages:
        shares = decode_scores(stored, len(stored[0]) // 4 - 1).astype(np.float64)
        right = shares[np.arange(len(shares)), labels]
        images += len(shares)
        # A probability below the least float32 is stored as 0.
        likelihood -= float(np.log(np.maximum(right, np.finfo(np.float32).tiny)).sum())
        brier += float((shares**2).sum() - 2.0 * right.sum() + len(shares))
    return ProbabilityLosses(likelihood / images, brier / images) if images else None
