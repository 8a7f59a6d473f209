"""A table of class scores as in the paper: one row for each image, 0 to 100, and figures derived from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from producer.reproduction.paper import PublishedTable


@dataclass(frozen=True, eq=False)
class ScoreTable:
    """Class scores (n, K) float64, 0 to 100, of n images with labels (n,) int64."""

    scores: NDArray[np.float64]
    labels: NDArray[np.int64]

    @property
    def right(self) -> int:
        """Return how many images have their highest score at their own class alone."""
        return int((self._own > self._others.max(axis=1)).sum())

    @property
    def tied(self) -> int:
        """Return how many images share their highest score between their own class and another."""
        return int(((self._own == self._others.max(axis=1)) & (self._own > 0)).sum())

    @property
    def lowest_right(self) -> float:
        """Return the lowest score of any image's own class."""
        return float(self._own.min())

    @property
    def runner_up(self) -> float:
        """Return the highest score of a wrong class on any image."""
        return float(self._others.max())

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON."""
        return {
            "labels": self.labels.tolist(),
            "scores": np.round(self.scores, 3).tolist(),
            "images": len(self.labels),
            "right": self.right,
            "tied": self.tied,
            "lowest_right": round(self.lowest_right, 3),
            "runner_up": round(self.runner_up, 3),
        }

    @property
    def _own(self) -> NDArray[np.float64]:
        return self.scores[np.arange(len(self.labels)), self.labels]

    @property
    def _others(self) -> NDArray[np.float64]:
        others = self.scores.copy()
        others[np.arange(len(self.labels)), self.labels] = -np.inf
        return others


def published(table: PublishedTable) -> ScoreTable:
    """Return a published ``table`` as a score table; row k is the image of class k."""
    scores = np.array(table.scores, dtype=np.float64)
    return ScoreTable(scores, np.arange(len(scores), dtype=np.int64))
