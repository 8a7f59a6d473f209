"""Fits the temperature that turns class scores into calibrated probabilities (Guo et al. 2017)."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schema.errors import ParameterError
from schema.network.reliability import LossSums
from schema.network.temperature import Temperature

FloatArray = NDArray[np.float64]

# With fewer wrong images the fit follows single images; with none the best temperature is 0.
MIN_WRONG = 10
_LOWEST, _HIGHEST = 0.05, 20.0
_STEPS = 40  # of golden section: far below what the images determine
_GOLDEN = (math.sqrt(5.0) - 1.0) / 2.0


def fit_temperature(scores: FloatArray, labels: NDArray[np.integer], *, held_out: bool) -> Temperature | None:
    """Return the temperature at which softmax(scores / T) has the lowest mean negative log-likelihood.

    Args:
        scores: (N, K), own class scores.
        labels: (N,) in [0, K).
        held_out: whether the images were not trained on.

    Returns:
        None with fewer than ``MIN_WRONG`` wrong images, which do not determine it.
    """
    if int((scores.argmax(axis=1) != labels).sum()) < MIN_WRONG:
        return None
    return Temperature(value=best_temperature(scores, labels), images=len(labels), held_out=held_out)


def best_temperature(scores: FloatArray, labels: NDArray[np.integer]) -> float:
    """Return the temperature from 0.05 to 20 of the lowest `mean_loss` of ``scores`` and ``labels``."""
    low, high = math.log(_LOWEST), math.log(_HIGHEST)
    # In 1 / T the loss is convex, so in log T it has one minimum.
    for _ in range(_STEPS):
        left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
        if mean_loss(scores, labels, math.exp(left)) < mean_loss(scores, labels, math.exp(right)):
            high = right
        else:
            low = left
    return float(f"{math.exp((low + high) / 2.0):.4g}")


def mean_loss(scores: FloatArray, labels: NDArray[np.integer], temperature: float) -> float:
    """Return the mean negative log-likelihood of ``labels`` by softmax(``scores`` / ``temperature``)."""
    return float(losses(scores, labels, temperature).mean())


def losses(scores: FloatArray, labels: NDArray[np.integer], temperature: float) -> FloatArray:
    """Return the negative log-likelihood (N,) of each image; the rest is as for `mean_loss`."""
    scaled = (scores - scores.max(axis=1, keepdims=True)) / temperature
    right = scaled[np.arange(len(labels)), labels]
    return np.asarray(np.log(np.exp(scaled).sum(axis=1)) - right)


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


def losses_of(scores: FloatArray, labels: NDArray[np.integer], temperature: float) -> dict[str, Any] | None:
    """Return the losses of the probabilities of ``scores`` (N, K) at ``temperature``, as JSON values.

    See `schema.network.reliability.Losses`. None: there are no ``labels`` (N,).
    """
    sums = LossSums()
    sums.add(probabilities(scores, temperature), labels, scores.argmax(axis=1))
    found = sums.losses()
    return None if found is None else asdict(found)
