"""Which weight of an energy layer couples which two units of Q. Pure numpy.

A convolution's weights repeat down the columns of Q (Higham and Bedford, arXiv 2107.08710, Figure 2).
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from schema.network.layers import ConvUnits, DenseUnits, PoolUnits, UnitLayer
from schema.network.sources import Shape

IndexArray = NDArray[np.intp]
MaskArray = NDArray[np.bool_]

_CACHED_LAYERS = 64


@lru_cache(maxsize=_CACHED_LAYERS)
def weight_index(layer: ConvUnits | DenseUnits, before: Shape, after: Shape) -> tuple[IndexArray, MaskArray]:
    """Return, for each two units, the index of their weight and whether they are coupled.

    Args:
        layer: convolution or dense layer. Its weights are laid out as in torch's Conv2d (filters, channels,
            kernel, kernel) or Linear (units, inputs).
        before: shape of the units that go in.
        after: shape of the units that come out.

    Returns:
        Index into the flat weights, intp, 0 without a coupler; and the mask of couplers, bool. Both are
            (n_in, n_out) and read-only.

    Examples:
        A convolution with one 2 x 2 filter on 2 x 3 pixels has two places, which share its four weights:

        >>> index, mask = weight_index(ConvUnits(filters=1, kernel=2, stride=1), (1, 2, 3), (1, 1, 2))
        >>> np.where(mask, index, -1).T.tolist()
        [[0, 1, -1, 2, 3, -1], [-1, 0, 1, -1, 2, 3]]
    """
    inputs = math.prod(before)
    if isinstance(layer, DenseUnits):
        index = np.arange(inputs * layer.units).reshape(layer.units, inputs).T
        return _read_only(index, np.ones(index.shape, dtype=np.bool_))
    windows = _windows(before, after, layer)
    places, window = windows.shape
    index = np.zeros((inputs, layer.filters, places), dtype=np.intp)
    mask = np.zeros(index.shape, dtype=np.bool_)
    place = np.arange(places)[:, np.newaxis]
    index[windows, :, place] = np.arange(layer.filters * window).reshape(layer.filters, window).T
    mask[windows, :, place] = True
    return _read_only(index.reshape(inputs, -1), mask.reshape(inputs, -1))


@lru_cache(maxsize=_CACHED_LAYERS)
def pool_mask(layer: PoolUnits, before: Shape) -> MaskArray:
    """Return (n_in, n_out) bool, read-only: the pool of ``layer`` of each unit of shape ``before``."""
    channels, rows, columns = before
    size = layer.size
    numbers = np.arange(channels * (rows // size) * (columns // size))
    pool = numbers.reshape(channels, rows // size, columns // size).repeat(size, axis=1).repeat(size, axis=2)
    mask: MaskArray = pool.reshape(-1, 1) == numbers
    mask.setflags(write=False)
    return mask


def bias_repeats(layer: UnitLayer, after: Shape) -> int:
    """Return how often each bias of ``layer`` repeats: a filter has one for all its places in ``after``."""
    return after[1] * after[2] if isinstance(layer, ConvUnits) else 1


def _windows(before: Shape, after: Shape, layer: ConvUnits) -> IndexArray:
    """Return (places, channels * kernel^2): the inputs of each place, in the order of the weights."""
    numbers = np.arange(math.prod(before)).reshape(before)
    view = np.lib.stride_tricks.sliding_window_view(numbers, (layer.kernel, layer.kernel), axis=(1, 2))
    places = view[:, :: layer.stride, :: layer.stride].transpose(1, 2, 0, 3, 4)
    return places.reshape(after[1] * after[2], -1)


def _read_only(index: IndexArray, mask: MaskArray) -> tuple[IndexArray, MaskArray]:
    index.setflags(write=False)
    mask.setflags(write=False)
    return index, mask
