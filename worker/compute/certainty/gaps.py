"""Computes the lowest energy of each class of an image, and the gap from its winner to the others.

Energy gaps vary where the consensus margin does not: if all chosen reads agree, the margin is 1, for easy and
for hard images alike.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]


def lowest_reads(
    class_bits: NDArray[np.uint8],
    energies: NDArray[np.floating],
    occurrences: NDArray[np.integer] | None = None,
) -> FloatArray:
    """Return the lowest energy (B, K) float64 of the reads with one class unit on; inf for a class without
    any.

    Those of several rounds of reads are combined by their minimum.

    Args:
        class_bits: (B, R, K) uint8.
        energies: (B, R), of the reads by Q.
        occurrences: (B, R), how often each row was read; None: once.
    """
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


def class_energies(lowest: FloatArray, minima: FloatArray | None) -> FloatArray:
    """Return the energy (B, K) of each class: of its ``lowest`` read, or its exact minimum if never read.

    The exact minimum is a classical computation.

    Args:
        lowest: (B, K), as `lowest_reads` returns it.
        minima: (B, K), exact lowest energies, see `qubo.class_states`; None where they are not known: a class
            that was never read then has inf.
    """
    return lowest if minima is None else np.where(np.isfinite(lowest), lowest, minima)


def energy_gaps(energies: FloatArray, predicted: NDArray[np.int16]) -> FloatArray:
    """Return the gap (B,) float64 from the lowest state of the winner to that of the best other class.

    A gap below 0 means that the exact minimum of another class is below all reads of the winner.

    Args:
        energies: (B, K), of the classes.
        predicted: (B,), class or -1.

    Returns:
        NaN where there is no class, or no energy for the winner or for any other class.
    """
    rows, winner = np.arange(len(energies)), np.maximum(predicted, 0)
    others = energies.copy()
    others[rows, winner] = np.inf
    with np.errstate(invalid="ignore"):
        gaps = others.min(axis=1) - energies[rows, winner]
    return np.where((predicted >= 0) & np.isfinite(gaps), gaps, np.nan)
