"""How field errors change from problem to problem: by drift, which has a memory, and at random.

With u the derivative of the log likelihood of a problem by the field of a chain, and v its information, the
mean of u is v d for an additional field d. So the products u u' of two problems have the mean v v' C, with
the covariance C of their fields: C = drift^2 exp(-lag / memory) for two problems, and within one problem
drift^2 + random^2, once v is subtracted from u^2.

Errors of couplings that the reads do not resolve change from image to image, and count as random.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

_MOST_LAGS = 200
_FEWEST = 30  # problems; fewer show no drift
_MEMORIES = np.geomspace(2.0, 500.0, 40)  # problems


@dataclass(frozen=True)
class FieldChanges:
    """Standard deviations of the changing parts of a qubit's field, in units of h.

    Attributes:
        drift: of the part with a memory.
        memory: in problems, after which exp(-1) of it is left.
        random: of the part that each problem has anew.
    """

    drift: float
    memory: float
    random: float


def fit_changes(
    slopes: NDArray[np.float32], information: NDArray[np.float32], lengths: NDArray[np.intp]
) -> FieldChanges:
    """Return the changes by derivatives and information (P, c) of P problems and c chains.

    A chain has the sum of the fields of its qubits (``lengths``), whose variance is that of a qubit times its
    length.
    """
    u, v = slopes.astype(np.float64), information.astype(np.float64)
    u -= v * (u.sum(axis=0) / np.maximum(v.sum(axis=0), 1e-9))
    count = len(u)
    within = _variance((u * u - v).sum(axis=0), (v * v).sum(axis=0), lengths)
    if count < _FEWEST:
        return FieldChanges(0.0, float(_MEMORIES[0]), float(np.sqrt(max(within, 0.0))))
    lags = np.arange(1, min(_MOST_LAGS, count // 3) + 1)
    parts = [((u[:-lag] * u[lag:]).sum(axis=0), (v[:-lag] * v[lag:]).sum(axis=0)) for lag in lags]
    covariances = np.array([_variance(*part, lengths) for part in parts])
    weights = np.array([(part[1] * lengths).sum() for part in parts])
    drift, memory = _exponential(lags, covariances, weights)
    return FieldChanges(float(np.sqrt(drift)), memory, float(np.sqrt(max(within - drift, 0.0))))


def _variance(products: FloatArray, weights: FloatArray, lengths: NDArray[np.intp]) -> float:
    """Return the variance of a qubit's field by sums of products and weights (c,) of chains."""
    return float(products.sum() / max(float((weights * lengths).sum()), 1e-9))


def _exponential(lags: NDArray[np.intp], values: FloatArray, weights: FloatArray) -> tuple[float, float]:
    """Return a >= 0 and m of the exponential a exp(-lag / m) that is closest to ``values``."""
    best = (np.inf, 0.0, float(_MEMORIES[0]))
    for memory in _MEMORIES:
        shape = np.exp(-lags / memory)
        scale = max(float((weights * values * shape).sum() / (weights * shape**2).sum()), 0.0)
        distance = float((weights * (values - scale * shape) ** 2).sum())
        best = min(best, (distance, scale, float(memory)))
    return best[1], best[2]
