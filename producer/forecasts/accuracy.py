"""The accuracy that a run reaches at least, predicted from the accuracy on a validation set."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from schema.errors import ParameterError

CONFIDENCE = 0.95  # probability with which a promise is kept
_MOST = 100_000  # images; the error of the accuracy of more is that of the validation set
_SPREAD = 12.0  # standard deviations beyond which probabilities are below 1e-12
_PRIOR = 0.5  # Jeffreys
# The cheapest setting that seems to reach a target is one whose estimate is too high more often than not.
# Settings share their validation images and most of their reads: hundreds of them mislead about as often as
# two that were independent (docs/figures.md has what was measured).
_INDEPENDENT = 2


def confidence_among(compared: int) -> float:
    """Return the probability with which each of ``compared`` settings must keep its promise.

    Then the one that is chosen among them keeps it with the probability `CONFIDENCE` (Sidak 1967, Rectangular
    confidence regions for the means of multivariate normal distributions).
    """
    return float(CONFIDENCE ** (1.0 / min(max(compared, 1), _INDEPENDENT)))


@lru_cache(maxsize=4096)
def least_accuracy(right: int, validated: int, images: int, confidence: float = CONFIDENCE) -> float:
    """Return the accuracy that a run of ``images`` reaches or exceeds with probability ``confidence``.

    The accuracy of the setting is Beta distributed with the prior of Jeffreys, so that the number of images
    that the run has wrong is beta-binomial distributed: Brown, Cai and DasGupta 2001, Statistical Science 16,
    and Gelman et al., Bayesian Data Analysis, 2.4. It holds for images like those of the validation set.

    Args:
        right: images of the validation set that the setting has right.
        validated: images of the validation set.
        images: of the run.
        confidence: in (0, 1).

    Raises:
        ParameterError: the numbers of images do not fit together.

    Examples:
        >>> least_accuracy(990, 1_000, 10**9) < 0.99 < least_accuracy(998, 1_000, 10**9)
        True
    """
    if not 0 <= right <= validated or validated < 1 or images < 1:
        raise ParameterError(f"{right} of {validated} images predict nothing about {images} images")
    count = min(images, _MOST)
    a, b = right + _PRIOR, validated - right + _PRIOR
    share = b / (a + b)
    deviation = math.sqrt(count * share * (1.0 - share) * (a + b + count) / (a + b + 1.0))
    first = max(math.floor(count * share - _SPREAD * deviation), 0)
    last = min(math.ceil(count * share + _SPREAD * deviation) + 50, count)
    wrong = np.arange(first, last, dtype=np.float64)
    # Ratios of neighbouring probabilities, as the gamma functions of the probabilities themselves overflow.
    ratios = np.log((count - wrong) * (b + wrong)) - np.log((wrong + 1.0) * (count - wrong - 1.0 + a))
    logs = np.concatenate(([0.0], np.cumsum(ratios)))
    weights = np.exp(logs - logs.max())
    reached = int(np.searchsorted(np.cumsum(weights), confidence * weights.sum()))
    return 1.0 - (first + reached) / count
