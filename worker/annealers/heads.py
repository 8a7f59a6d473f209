"""Anneals heads: a visible layer and a class layer, all reads of some images at once.

Given the class units, the visible units are independent, and a sweep draws them together (block Gibbs
sampling, Geman and Geman 1984): a unit is on with probability sigmoid(-beta dE), where dE is the change of
energy if it is turned on. The class units have couplings among each other, and are drawn one after another.
Matrix products are faster here than updates of single units.

The reads of an image have the same bits on every machine and in every batch: couplings are rounded to
2^-23 of the largest sum of a unit's couplings, so that all sums are exact in float32, in any order. This is
far finer than any temperature of a schedule.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from worker.qubo.energy_model import BitArray, EnergyModel, FloatArray

Floats = NDArray[np.float32]

# Rows of the arrays: their noise (rows x 50 units) stays in the cache of a core.
ROWS = 1000
# Random numbers of 64 bits that are drawn at once from an image's stream.
_DRAWN_WORDS = 4096
# The logits of 2^16 uniform numbers. The rarest have a probability of 2^-17, or logits of -+11.8.
_UNIFORM = (np.arange(1 << 16) + 0.5) / (1 << 16)
_LOGITS = np.log(_UNIFORM / (1.0 - _UNIFORM)).astype(np.float32)
_STEP = 2.0**-23
_LARGEST_EXPONENT = 1023  # of a float64
# Linear terms beyond decide a unit at any temperature, and float32 holds their sums.
_LARGEST_LINEAR = 1e30


@dataclass(frozen=True, eq=False)
class HeadCouplings:
    """The rounded couplings of a head, in units of a power of two: their sums for a unit are at most 1.

    Attributes:
        between: (V, K) float32, visible and class units.
        among: (K, K) float32, class units.
        unit: of energy, float64.
    """

    between: Floats
    among: Floats
    unit: float

    @classmethod
    def of(cls, model: EnergyModel) -> HeadCouplings:
        """Return the couplings of ``model``, which has two layers."""
        both = model.quadratic + model.quadratic.T
        largest = float(np.abs(both).sum(axis=1).max(initial=0.0))
        unit = float(np.exp2(min(np.ceil(np.log2(largest)), _LARGEST_EXPONENT))) if largest > 0.0 else 1.0
        rounded = (np.rint(both / unit / _STEP) * _STEP).astype(np.float32)
        visible = model.sizes[0]
        between = np.ascontiguousarray(rounded[:visible, visible:])
        return cls(between, rounded[visible:, visible:].copy(), unit)


def anneal_head(
    couplings: HeadCouplings,
    linear: FloatArray,
    reads: int,
    betas: FloatArray,
    streams: list[np.random.PCG64DXSM],
    check_interrupt: Callable[[], None],
) -> BitArray:
    """Return reads (b, R, n) uint8 of images after one sweep at each inverse temperature of ``betas``.

    Args:
        couplings: what all images share.
        linear: (b, n) float64.
        reads: R, of each image.
        betas: (S,) float64, may end with infinite ones, which turn to the lower energy.
        streams: b streams; each gives the random numbers of its image.
        check_interrupt: called before each sweep.
    """
    images, units = linear.shape
    visible, classes = couplings.between.shape
    rows = np.clip(linear / couplings.unit, -_LARGEST_LINEAR, _LARGEST_LINEAR)[:, np.newaxis]
    rows = rows.astype(np.float32)
    uniform = _uniform(streams, reads * units, len(betas) + 1)
    start = next(uniform).reshape(images, reads, units)
    y = (start[..., visible:] & 1).astype(np.float32).reshape(-1, classes)
    x = np.empty((images * reads, visible), np.float32)
    for beta, numbers in zip(betas, uniform, strict=True):
        check_interrupt()
        thresholds = _LOGITS.take(numbers.reshape(images, reads, units))
        thresholds *= np.float32(1.0 / (beta * couplings.unit))
        thresholds -= rows
        flat = thresholds.reshape(-1, units)
        np.less(y @ couplings.between.T, flat[:, :visible], out=x, casting="unsafe")
        below = flat[:, visible:] - x @ couplings.between
        for unit in range(classes):
            y[:, unit] = y @ couplings.among[unit] < below[:, unit]
    bits = np.empty((images, reads, units), np.uint8)
    bits[..., :visible] = x.reshape(images, reads, visible)
    bits[..., visible:] = y.reshape(images, reads, classes)
    return bits


def words_for(reads: int, units: int, sweeps: int) -> int:
    """Return how many random numbers of 64 bits the anneals of an image take from its stream."""
    return (sweeps + 1) * _words_of_sweep(reads * units)


def _words_of_sweep(numbers: int) -> int:
    return -(-numbers // 4)


def _uniform(streams: list[np.random.PCG64DXSM], numbers: int, sweeps: int) -> Iterator[NDArray[np.uint16]]:
    """Yield (b, numbers) uint16 for each of ``sweeps``: as many from each stream, many sweeps at once."""
    words = _words_of_sweep(numbers)
    together = max(1, _DRAWN_WORDS // words)
    for start in range(0, sweeps, together):
        count = min(together, sweeps - start)
        drawn = np.stack([stream.random_raw(count * words) for stream in streams])
        parts = drawn.reshape(len(streams), count, words).view(np.uint16)[..., :numbers]
        yield from (parts[:, sweep] for sweep in range(count))
