"""How many images of its validation set a calibration on qubits can use within its budget of QPU time.

All settings are compared on the same images, so that the differences between them have small errors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from schema.errors import ParameterError

# The rest is for problems that are sent again, and for charges above the estimates.
_PLANNED = 0.9
_FEWEST = 10  # images: fewer say nothing


@dataclass(frozen=True)
class SettingCost:
    """What one setting costs: ``tiles`` images in a full problem, and its estimated charge ``problem_us``."""

    tiles: int
    problem_us: float

    def of(self, images: int) -> float:
        """Return the charge of ``images`` in microseconds at most: each problem counts as a full one."""
        return -(-images // self.tiles) * self.problem_us


def affordable_images(settings: Sequence[SettingCost], budget_us: int, available: int) -> int:
    """Return how many of the ``available`` images all ``settings`` can be compared on within ``budget_us``.

    Raises:
        ParameterError: they are too few to compare anything.

    Examples:
        Two settings, ten images in a problem: 9 ms are planned with, and suffice for four problems each.

        >>> affordable_images([SettingCost(10, 1_000.0)] * 2, 10_000, 500)
        40
    """
    low, high = 0, available
    while low < high:
        middle = (low + high + 1) // 2
        if _total_us(settings, middle) <= _PLANNED * budget_us:
            low = middle
        else:
            high = middle - 1
    if low < min(_FEWEST, available):
        least_us = _total_us(settings, min(_FEWEST, available)) / _PLANNED
        raise ParameterError(
            f"a budget of {budget_us / 1e6:g} s suffices for {low} images with each of {len(settings)} "
            f"settings: raise it to {least_us / 1e6:.3g} s or more, or compare fewer settings or reads"
        )
    return low


def draw(available: int, count: int, seed: int) -> NDArray[np.intp]:
    """Return the indices of ``count`` of ``available`` images, ascending, drawn with ``seed``.

    Those of a smaller count are among those of a larger one.
    """
    return np.sort(np.random.default_rng(seed).permutation(available)[:count])


def _total_us(settings: Sequence[SettingCost], images: int) -> float:
    return sum(setting.of(images) for setting in settings)
