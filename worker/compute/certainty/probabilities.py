"""Calibrated probabilities of classes, by the network's own class scores: of winners, and their losses."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from schema.codecs.arrays import decode_scores
from schema.network.reliability import Losses, LossSums

FloatArray = NDArray[np.float64]


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
