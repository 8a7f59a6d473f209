"""Where the weights of an energy layer lie in Q: which weight couples which two units. Pure numpy.

A convolution's weights repeat down the columns of Q (Higham and Bedford, Figure 2).
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from schema.network.architecture import Shape
from schema.network.layers import ConvUnits, DenseUnits, PoolUnits, UnitLayer

IndexArray = NDArray[np.intp]
MaskArray = NDArray[np.bool_]

_CACHED_LAYERS = 64


@lru_cache(maxsize=_CACHED_LAYERS)
def weight_index(layer: ConvUnits | DenseUnits, before: Shape, after: Shape) -> tuple[IndexArray, MaskArray]:
    """Index into the flat weights, and mask of the couplers that exist, each (n_in, n_out). Read-only.

    before, after: shapes of the units that the layer joins. The weights are laid out as in torch's Conv2d
    (filters, channels, kernel, kernel) or Linear (units, inputs). Where there is no coupler the index is 0.
    """
    inputs = math.prod(before)
    if isinstance(layer, DenseUnits):
        index = np.arange(inputs * layer.units).reshape(layer.units, inputs).T
        return _frozen(index, np.ones(index.shape, dtype=np.bool_))
    windows = _windows(before, after, layer)
    places, window = windows.shape
    index = np.zeros((inputs, layer.filters, places), dtype=np.intp)
    mask = np.zeros(index.shape, dtype=np.bool_)
    place = np.arange(places)[:, np.newaxis]
    index[windows, :, place] = np.arange(layer.filters * window).reshape(layer.filters, window).T
    mask[windows, :, place] = True
    return _frozen(index.reshape(inputs, -1), mask.reshape(inputs, -1))


@lru_cache(maxsize=_CACHED_LAYERS)
def pool_mask(layer: PoolUnits, before: Shape) -> MaskArray:
    """(n_in, n_out) bool, read-only: which units of the layer before belong to which pool."""
    channels, rows, columns = before
    size = layer.size
    numbers = np.arange(channels * (rows // size) * (columns // size))
    pool = numbers.reshape(channels, rows // size, columns // size).repeat(size, axis=1).repeat(size, axis=2)
    mask: MaskArray = pool.reshape(-1, 1) == numbers
    mask.setflags(write=False)
    return mask


def bias_repeats(layer: UnitLayer, after: Shape) -> int:
    """How often each bias of a layer repeats: a convolution has one a filter, shared by all its places."""
    return after[1] * after[2] if isinstance(layer, ConvUnits) else 1


def _windows(before: Shape, after: Shape, layer: ConvUnits) -> IndexArray:
    """(places, channels * kernel^2): the inputs of each place of a convolution, in its weights' order."""
    numbers = np.arange(math.prod(before)).reshape(before)
    view = np.lib.stride_tricks.sliding_window_view(numbers, (layer.kernel, layer.kernel), axis=(1, 2))
    places = view[:, :: layer.stride, :: layer.stride].transpose(1, 2, 0, 3, 4)
    return places.reshape(after[1] * after[2], -1)


def _frozen(index: IndexArray, mask: MaskArray) -> tuple[IndexArray, MaskArray]:
    index.setflags(write=False)
    mask.setflags(write=False)
    return index, mask
