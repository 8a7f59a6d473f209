"""How far the probabilities of classes are from the labels of images: losses, and the calibration error."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

BINS = 15  # of equal width, as usual since Guo et al. 2017, arXiv 1706.04599


@dataclass(frozen=True)
class Losses:
    """What the probabilities of labelled images are worth; lower is better.

    Attributes:
        images: labelled ones with probabilities.
        calibration_error: mean over images of the distance between share of right classes and mean
            probability of the predicted class in the bin of each, in [0, 1]; None: no image has a class.
        negative_log_likelihood: mean over images of -log of the probability of the right class.
        brier_score: mean over images of the sum over classes of (probability - 1 if it is right)^2, from 0 to
            2 (Brier 1950, Verification of forecasts expressed in terms of probability).
    """

    images: int
    calibration_error: float | None
    negative_log_likelihood: float
    brier_score: float

    def __str__(self) -> str:
        error = "unknown" if self.calibration_error is None else f"{self.calibration_error:.2%}"
        likelihood = f"negative log-likelihood {self.negative_log_likelihood:.4f}"
        return f"ECE {error}, {likelihood}, Brier score {self.brier_score:.4f}"


def stored_losses(figures: Mapping[str, Any] | None) -> Losses | None:
    """Return the losses in ``figures``: the metrics of a network, or what a calibration measured."""
    found = (figures or {}).get("losses")
    return None if found is None else Losses(**found)


@dataclass
class LossSums:
    """Sums over images, of which the losses are made; images are added part by part."""

    images: int = 0
    decided: int = 0
    _likelihood: float = 0.0
    _brier: float = 0.0
    _excess: NDArray[np.float64] = field(default_factory=lambda: np.zeros(BINS))

    def add(
        self,
        shares: NDArray[np.floating],
        labels: NDArray[np.integer],
        predicted: NDArray[np.integer] | None = None,
    ) -> None:
        """Add B images.

        Args:
            shares: (B, K), the probability of each class.
            labels: (B,), the right class of each.
            predicted: (B,), class or -1; such images count in all but the calibration error. None: so do all.
        """
        exact = shares.astype(np.float64)
        rows = np.arange(len(exact))
        right = exact[rows, labels]
        self.images += len(exact)
        # A probability below the least float32 is stored as 0.
        self._likelihood -= float(np.log(np.maximum(right, np.finfo(np.float32).tiny)).sum())
        self._brier += float((exact**2).sum() - 2.0 * right.sum() + len(exact))
        if predicted is None:
            return
        known = predicted >= 0
        chosen = exact[rows, np.maximum(predicted, 0)][known]
        bins = np.minimum((chosen * BINS).astype(np.int64), BINS - 1)
        self.decided += len(chosen)
        np.add.at(self._excess, bins, (predicted == labels)[known] - chosen)

    def losses(self) -> Losses | None:
        """Return the losses of the images so far; None if there are none."""
        if not self.images:
            return None
        error = float(np.abs(self._excess).sum()) / self.decided if self.decided else None
        return Losses(self.images, error, self._likelihood / self.images, self._brier / self.images)
