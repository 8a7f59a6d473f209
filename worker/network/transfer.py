"""From trained weights to the energy that is sampled. Pure numpy."""

from __future__ import annotations

import math
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from schema.architecture import Architecture, Shape
from schema.errors import NetworkError, ParameterError
from schema.specs import ConvUnits, MaxPool, PoolUnits, UnitLayer
from schema.weights import FOLDED_LAM, Weights
from worker.qubo.build import Coupling, EnergyModel, build

Transfer = Literal["paper", "energy"]
TRANSFERS: tuple[str, ...] = get_args(Transfer)
VISIBLE = ("sampled", "folded")

_PAPER_LAM = 1.0  # Higham and Bedford, 3.4: q_c = -1, q_cc = 2


def energy_model(
    architecture: Architecture, weights: Weights, transfer: str, visible: str, lam: float | None = None
) -> EnergyModel:
    """The energy model of a trained network; only its linear part changes from image to image.

    visible: ``sampled``: visible units are variables with linear part -f. ``folded``: they carry known
        values x and leave the model, bias_j - sum_i x_i W[i, j] (Higham and Bedford, 3.6). x is the value
        that the weights were trained with: (1 + f / alpha) / 2 in [0, 1], which is v itself where f is at
        +-alpha; for tanh features and the ``paper`` transfer, f / alpha in [-1, 1].
    lam: one-hot penalty; None: what was trained (energy), 1 (paper), or for paper folded the stored half
        of the largest |x W|, and without one its bound from the weights.

    Raises:
        NetworkError: an unknown transfer, or weights that do not fit.
        ParameterError: an unknown ``visible``, or a lam below 0.
    """
    check_transfer(transfer)
    if visible not in VISIBLE:
        raise ParameterError(f"visible must be {' or '.join(VISIBLE)}, not {visible!r}")
    couplings, biases = _couplings(architecture, weights)
    if lam is None:
        lam = _default_lam(architecture, weights, transfer, visible)
    if visible == "sampled":
        return build(couplings, biases, lam, "sampled")
    gain, shift = fold_scale(architecture, transfer)
    first = couplings[0]
    biases[0] = biases[0] + shift * first.weights.sum(axis=0)
    return build([Coupling(gain * first.weights, first.mask), *couplings[1:]], biases, lam, "folded")


def check_transfer(transfer: str) -> None:
    """Raise ``NetworkError`` unless ``transfer`` is ``paper`` or ``energy``."""
    if transfer not in TRANSFERS:
        raise NetworkError(f"transfer must be {' or '.join(TRANSFERS)}, not {transfer!r}")


def fold_scale(architecture: Architecture, transfer: str) -> tuple[float, float]:
    """(gain, shift): a folded visible unit with feature value f carries gain * f + shift."""
    active = [spec.activation for spec in architecture.features if not isinstance(spec, MaxPool)]
    if transfer == "paper" and active and active[-1] == "tanh":
        return 1.0 / architecture.alpha, 0.0
    return 0.5 / architecture.alpha, 0.5


def _default_lam(architecture: Architecture, weights: Weights, transfer: str, visible: str) -> float:
    if transfer == "energy":
        return architecture.training.lam
    if visible != "folded":
        return _PAPER_LAM
    if FOLDED_LAM in weights:
        return float(weights[FOLDED_LAM][0])
    return 0.5 * float(np.abs(weights["classes.weight"]).sum(axis=1, dtype=np.float64).max())


def _couplings(
    architecture: Architecture, weights: Weights
) -> tuple[list[Coupling], list[NDArray[np.float64]]]:
    shapes = architecture.unit_shapes
    couplings = [
        Coupling(*_expand(architecture, weights, index, layer, shapes[index : index + 2]))
        for index, layer in enumerate(architecture.energy)
    ]
    head = weights["classes.weight"].T.astype(np.float64)
    couplings.append(Coupling(head, np.ones(head.shape, dtype=np.bool_)))
    biases = [
        _bias(weights, f"energy.{index}.bias", shapes[index + 1]) for index in range(len(architecture.energy))
    ]
    return couplings, [*biases, np.zeros(architecture.classes)]


def _expand(
    architecture: Architecture, weights: Weights, index: int, layer: UnitLayer, shapes: tuple[Shape, ...]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Weights and mask (n_in, n_out) of one layer; a convolution's weights repeat down the columns."""
    before, after = shapes
    if isinstance(layer, PoolUnits):
        mask = _pool_mask(before, layer.size)
        return np.where(mask, architecture.alpha, 0.0), mask
    weight = weights[f"energy.{index}.weight"].astype(np.float64)
    if not isinstance(layer, ConvUnits):
        return weight.T.copy(), np.ones(weight.T.shape, dtype=np.bool_)
    inputs = _windows(before, after, layer)
    filters, places, window = after[0], inputs.shape[0], inputs.shape[1]
    dense = np.zeros((math.prod(before), filters, places))
    mask = np.zeros(dense.shape, dtype=np.bool_)
    place = np.arange(places)[:, np.newaxis]
    dense[inputs, :, place] = weight.reshape(filters, window).T
    mask[inputs, :, place] = True
    return dense.reshape(len(dense), -1), mask.reshape(len(mask), -1)


def _windows(before: Shape, after: Shape, layer: ConvUnits) -> NDArray[np.intp]:
    """(places, channels * kernel^2): the inputs of each place of a convolution, in its weights' order."""
    numbers = np.arange(math.prod(before)).reshape(before)
    view = np.lib.stride_tricks.sliding_window_view(numbers, (layer.kernel, layer.kernel), axis=(1, 2))
    places = view[:, :: layer.stride, :: layer.stride].transpose(1, 2, 0, 3, 4)
    return places.reshape(after[1] * after[2], -1)


def _pool_mask(before: Shape, size: int) -> NDArray[np.bool_]:
    """(n_in, n_out) bool: which visible units belong to which pool."""
    channels, rows, columns = before
    numbers = np.arange(channels * (rows // size) * (columns // size))
    pool = numbers.reshape(channels, rows // size, columns // size).repeat(size, axis=1).repeat(size, axis=2)
    mask: NDArray[np.bool_] = pool.reshape(-1, 1) == numbers
    return mask


def _bias(weights: Weights, name: str, shape: Shape) -> NDArray[np.float64]:
    """Bias (units,) of one layer; a convolution has one a filter, shared by all its places."""
    if name not in weights:
        return np.zeros(math.prod(shape))
    bias = weights[name].astype(np.float64)
    return bias.repeat(math.prod(shape) // len(bias))
