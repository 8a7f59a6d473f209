"""Gauges: a chip is given a problem with some spins reversed, and its reads are reversed back.

With a sign g of each chain, h becomes g h and the coupling between two chains g J g. All energies stay the
same to the bit: a product with -1 is exact. An error that a chip adds to h or J then acts on an image in
another direction in each problem. It is Ocean's `SpinReversalTransformComposite`, with one sign for a chain:
couplers within chains stay negative, where the range of J is wider.

Signs are drawn from the seed of the run and the numbers of batch and problem, so that each worker that takes
a problem over draws the same ones.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from schema.codecs.tiling import Tiling
from schema.parameters import Gauge

BitArray = NDArray[np.uint8]
SignArray = NDArray[np.float64]


def draw_signs(gauge: Gauge, key: tuple[int, int, int], tiles: int, units: int) -> SignArray | None:
    """Return the signs, 1.0 or -1.0, of a problem's chains.

    Args:
        gauge: what has a sign of its own.
        key: the seed of the run, the number of the batch's first image, and that of the problem in the batch.
        tiles: of the problem, k.
        units: of the model, n.

    Returns:
        (k, 1) for a gauge of tiles, (k, n) of units, None without a gauge.
    """
    if gauge is Gauge.NONE:
        return None
    seed, *numbers = key
    random = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=tuple(numbers)))
    shape = (tiles, 1 if gauge is Gauge.TILE else units)
    return np.asarray(1.0 - 2.0 * random.integers(0, 2, shape), np.float64)


def reverse_back(packed: BitArray, tiling: Tiling, signs: SignArray) -> BitArray:
    """Return reads (R, ceil(A / 8)) of the A qubits of ``tiling`` as if no spin had been reversed.

    Args:
        packed: the reads, qubits ascending, the first in the highest bit.
        tiling: of the problem, k tiles of n units.
        signs: (k, 1) or (k, n), as `draw_signs` returns them.

    Examples:
        The chains 0-1 and 2, the second one reversed:

        >>> tiling = Tiling.from_chains([[[0, 1], [2]]])
        >>> read = reverse_back(np.packbits([[1, 1, 1]], axis=1), tiling, np.array([[1.0, -1.0]]))
        >>> np.unpackbits(read, axis=1, count=3).tolist()
        [[1, 1, 0]]
    """
    chains = np.broadcast_to(signs < 0.0, tiling.lengths.shape)
    is_reversed = np.repeat(chains.ravel(), tiling.lengths.ravel())[np.argsort(tiling.qubits)]
    return packed ^ np.packbits(is_reversed)
