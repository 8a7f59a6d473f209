"""Computes how certain the class of an image is: its energy gap, and its calibrated probability.

Both vary where the consensus margin does not: if all chosen reads agree, the margin is 1, for easy and for
hard images alike.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from schema.errors import ParameterError

FloatArray = NDArray[np.float64]


def energy_gaps(
    class_bits: NDArray[np.uint8],
    energies: NDArray[np.floating],
    predicted: NDArray[np.int16],
    minima: FloatArray | None,
    occurrences: NDArray[np.integer] | None = None,
) -> FloatArray:
    """Return the gap (B,) float64 from the lowest state of the winner to that of the best other class.

    The lowest state of a class is that of its reads, those with its class unit alone on. A class that was
    never read has its exact minimum, which is a classical computation. A gap below 0 means that the exact
    minimum of another class is below all reads of the winner.

    Args:
        class_bits: (B, R, K) uint8.
        energies: (B, R), of the reads by Q.
        predicted: (B,), class or -1.
        minima: (B, K), exact lowest energies, see `qubo.class_states`; None where they are not known.
        occurrences: (B, R), how often each row was read; None: once.

    Returns:
        NaN where there is no class, or no energy for the winner or for any other class.
    """
    lowest = _lowest_reads(class_bits, energies, occurrences)
    if minima is not None:
        lowest = np.where(np.isfinite(lowest), lowest, minima)
    rows, winner = np.arange(len(lowest)), np.maximum(predicted, 0)
    won = lowest[rows, winner]
    lowest[rows, winner] = np.inf
    with np.errstate(invalid="ignore"):
        gaps = lowest.min(axis=1) - won
    return np.where((predicted >= 0) & np.isfinite(gaps), gaps, np.nan)


def probabilities(scores: FloatArray, predicted: NDArray[np.int16], temperature: float) -> FloatArray:
    """Return the probability (B,) float64 of each winner: softmax of scores / temperature.

    Args:
        scores: (B, K), the network's own class scores: minus free energies, or logits.
        predicted: (B,), class or -1.
        temperature: above 0; see `schema.network.temperature`.

    Returns:
        NaN where there is no class.

    Raises:
        ParameterError: a score is not finite.
    """
    if not np.isfinite(scores).all():
        raise ParameterError("the network's own class scores are not finite: train the network again")
    weights = np.exp((scores - scores.max(axis=1, keepdims=True)) / temperature)
    chosen = weights[np.arange(len(weights)), np.maximum(predicted, 0)] / weights.sum(axis=1)
    return np.where(predicted >= 0, chosen, np.nan)


def _lowest_reads(
    class_bits: NDArray[np.uint8],
    energies: NDArray[np.floating],
    occurrences: NDArray[np.integer] | None,
) -> FloatArray:
    """Return the lowest energy (B, K) of the reads with one class unit on; inf for a class without any."""
    images, reads, classes = class_bits.shape
    # At most 256 classes: both fit into a byte, and 256 units on do not look like one.
    units_on, class_on = np.zeros((2, images, reads), dtype=np.uint8)
    # Class by class: the innermost axis is then that of the reads, which is long.
    for k, unit in enumerate(np.ascontiguousarray(class_bits.transpose(2, 0, 1))):
        units_on += unit
        class_on += unit * np.uint8(k)
    alone = units_on == 1 if occurrences is None else (units_on == 1) & (occurrences > 0)
    chosen = np.flatnonzero(alone)
    lowest = np.full(images * classes, np.inf)
    np.minimum.at(lowest, chosen // reads * classes + class_on.ravel()[chosen], energies.ravel()[chosen])
    return lowest.reshape(images, classes)
