"""The transfer: from trained weights to the energy that is sampled. Pure numpy.

Two transfers give the same Q from weights, but weights are trained differently, and the default penalty
differs:

    paper   The CNN is trained with softmax cross-entropy (b = 0), W is copied, lam = 1
            (Higham and Bedford, arXiv 2107.08710, 3.4). For reproduction.
    energy  The network is trained through the energy that is sampled, see `layers.state_scores`:
            nothing is lost in the transfer. The default.

The weights of a convolution or a dense layer are expanded to couplings (n_in, n_out) by
`columns.weight_index`; a pooling unit is coupled to the units of its pool by alpha. Signs are those of
`qubo/energy_model.py`.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from schema.errors import NetworkError, ParameterError
from schema.network.architecture import FOLDED_LAM, FOLDED_LAM_WITHOUT, Architecture
from schema.network.layers import PoolUnits, UnitLayer
from schema.network.sources import Shape
from schema.network.weights import Weights
from worker.network.columns import bias_repeats, pool_mask, weight_index
from worker.qubo.energy_model import Coupling, EnergyModel, build_model

Transfer = Literal["paper", "energy"]
TRANSFERS: tuple[str, ...] = get_args(Transfer)
VISIBLE = ("sampled", "folded")

_PAPER_LAM = 1.0  # Higham and Bedford, 3.4: q_c = -1, q_cc = 2


def energy_model(
    architecture: Architecture,
    weights: Weights,
    transfer: str,
    visible: str,
    lam: float | None = None,
    without: Collection[str] = (),
) -> EnergyModel:
    """Return the energy model of a trained network; only its linear biases change from image to image.

    Args:
        architecture: of the network.
        weights: trained weights.
        transfer: for which they were trained, ``paper`` or ``energy``.
        visible: ``sampled``: visible units are variables with linear bias -f. ``folded``: they have known
            values x and leave the model, bias_j - sum_i x_i W[i, j] (Higham and Bedford, 3.6). x is the value
            that the weights were trained with: (1 + f / alpha) / 2 in [0, 1], which is v itself if f is
            +-alpha; for tanh features and the ``paper`` transfer, f / alpha in [-1, 1].
        lam: one-hot penalty. None: folded, the stored half of the largest |x W|; if that is
            not stored, and sampled, the trained one (energy) or 1 (paper), for paper folded a bound of the
            former from the weights.
        without: sources whose feature values are 0. They change nothing but the default of ``lam``.

    Raises:
        NetworkError: an unknown transfer, or weights that do not fit.
        ParameterError: an unknown ``visible``, or a lam below 0.
    """
    check_transfer(transfer)
    if visible not in VISIBLE:
        raise ParameterError(f"visible must be {' or '.join(VISIBLE)}, not {visible!r}")
    couplings, biases = _couplings(architecture, weights)
    if lam is None:
        lam = _default_lam(
            architecture, weights, transfer, visible, FOLDED_LAM_WITHOUT if without else FOLDED_LAM
        )
    if visible == "sampled":
        return build_model(couplings, biases, lam, "sampled")
    gain, shift = fold_scale(architecture, transfer)
    first = couplings[0]
    biases[0] = biases[0] + shift * first.weights.sum(axis=0)
    return build_model([Coupling(gain * first.weights, first.mask), *couplings[1:]], biases, lam, "folded")


def check_transfer(transfer: str) -> None:
    """Raise ``NetworkError`` unless ``transfer`` is ``paper`` or ``energy``."""
    if transfer not in TRANSFERS:
        raise NetworkError(f"transfer must be {' or '.join(TRANSFERS)}, not {transfer!r}")


def fold_scale(architecture: Architecture, transfer: str) -> tuple[float, float]:
    """Return (gain, shift): a folded visible unit with feature value f has the value gain * f + shift.

    They depend on the last activation of ``architecture`` and on the ``transfer``; see `energy_model`.
    """
    if transfer == "paper" and architecture.last_activation == "tanh":
        return 1.0 / architecture.alpha, 0.0
    return 0.5 / architecture.alpha, 0.5


def _default_lam(
    architecture: Architecture, weights: Weights, transfer: str, visible: str, stored: str
) -> float:
    if visible == "folded" and stored in weights:
        return float(weights[stored][0])
    if transfer == "energy":
        return architecture.training.lam
    if visible != "folded":
        return _PAPER_LAM
    return 0.5 * float(np.abs(weights["classes.weight"]).sum(axis=1, dtype=np.float64).max())


def _couplings(
    architecture: Architecture, weights: Weights
) -> tuple[list[Coupling], list[NDArray[np.float64]]]:
    shapes = architecture.unit_shapes
    couplings, biases = [], []
    for index, layer in enumerate(architecture.energy):
        before, after = shapes[index : index + 2]
        couplings.append(Coupling(*_expand(architecture, weights, index, layer, before, after)))
        biases.append(_bias(weights, f"energy.{index}.bias", layer, after))
    head = weights["classes.weight"].T.astype(np.float64)
    couplings.append(Coupling(head, np.ones(head.shape, dtype=np.bool_)))
    return couplings, [*biases, np.zeros(architecture.classes)]


def _expand(
    architecture: Architecture, weights: Weights, index: int, layer: UnitLayer, before: Shape, after: Shape
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return weights and mask (n_in, n_out) of one layer."""
    if isinstance(layer, PoolUnits):
        mask = pool_mask(layer, before)
        return np.where(mask, architecture.alpha, 0.0), mask
    places, mask = weight_index(layer, before, after)
    flat = weights[f"energy.{index}.weight"].astype(np.float64).reshape(-1)
    return np.where(mask, flat[places], 0.0), mask


def _bias(weights: Weights, name: str, layer: UnitLayer, shape: Shape) -> NDArray[np.float64]:
    """Return the bias (units,) of one layer; pooling units have none."""
    if name not in weights:
        return np.zeros(math.prod(shape))
    return weights[name].astype(np.float64).repeat(bias_repeats(layer, shape))
