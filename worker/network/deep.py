"""Class scores of networks with hidden units, through the energy that is sampled.

The network has layers of units x_0 = v, x_1, ..., x_L, each coupled to its neighbours only, then the classes.
Given every second layer, the units of the others are independent. So those between are summed out at inverse
temperature beta, and the rest takes the values that maximise the result. With class k alone on

    S_k = max over x_0, x_2, ... of sum_(i even) field_i . x_i + sum_(i odd) sum_j softplus(beta z_ij) / beta
    z_i = field_i + x_(i-1) W_(i-1) + x_(i+1) W_i^T

where field_0 is f, field_i the bias b_i, and field_L has W[:, k] added; with two classes on, both columns.
All fields are minus the coefficients of E, as in `layers.py`.

This is a discriminative restricted Boltzmann machine (Larochelle and Bengio 2008, Classification using
discriminative restricted Boltzmann machines) with latent units that are maximised instead of summed: with
more than one hidden layer the sum does not factorise. The maximum is searched by block ascent, so S is a
lower bound of it. Its gradient is that with the maximised units fixed (envelope theorem), so nothing is
differentiated through the search.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass, replace
from itertools import combinations

import torch
import torch.nn.functional as fn
from torch import Tensor, nn

from schema.network.architecture import Architecture
from schema.network.layers import PoolUnits
from worker.network.columns import bias_repeats, pool_mask, weight_index
from worker.network.errors import Errors
from worker.network.layers import NetworkModule, class_energies

# Sharpness of the maximised units, step by step: u = sigmoid(sharpness z), at last u = [z > 0]. Many steps
# while visible units are fixed; then a few from there on, in which these may change, too.
_HIDDEN_SHARPNESS = (*(0.5 * 2 ** (step / 2) for step in range(6)), math.inf, math.inf)
_VISIBLE_SHARPNESS = (3.0, 3.0, math.inf, math.inf)


@dataclass(frozen=True, eq=False)
class DeepLayers:
    """The energy of layers of units for B images and C class states, or 1 if they are alike.

    Attributes:
        fields: for each layer, (B or 1, C or 1, n_i), minus the linear biases.
        couplings: (n_i, n_(i+1)) between consecutive layers, minus the quadratic biases.
        summed: 0 or 1: layers 0, 2, ... or 1, 3, ... are summed out.
        beta: inverse temperature, above 0.
    """

    fields: tuple[Tensor, ...]
    couplings: tuple[Tensor, ...]
    summed: int
    beta: float

    def fold(self, first: Tensor) -> DeepLayers:
        """Return the remaining layers if the values ``first`` (B, C or 1, n_0) of layer 0 are known.

        They add to the field of layer 1. The term field_0 . x_0 is left out.
        """
        field = self.fields[1] + first @ self.couplings[0]
        return DeepLayers((field, *self.fields[2:]), self.couplings[1:], 1 - self.summed, self.beta)

    def maximise(self, sharpness: tuple[float, ...], start: list[Tensor] | None = None) -> list[Tensor]:
        """Return values (B, C, n_i) of the units of each layer near the maximum of S, by block ascent.

        In each step, the summed layers take their mean values sigmoid(beta z), then the maximised ones
        sigmoid(s z).

        Args:
            sharpness: s of each step; inf gives values 0 and 1.
            start: values to start from; None: sigmoid of the fields.
        """
        with torch.no_grad():
            units = list(start or map(torch.sigmoid, self.fields))
            for slope in sharpness if self._maximised else ():
                for index in self._summed:
                    units[index] = torch.sigmoid(self.beta * self._field_at(units, index))
                for index in self._maximised:
                    field = self._field_at(units, index)
                    units[index] = torch.sigmoid(slope * field) if slope < math.inf else (field > 0).to(field)
        return units

    def score(self, units: list[Tensor]) -> Tensor:
        """Return S (B, C) for the maximised ``units``; the values of summed layers are not used."""
        parts = [
            fn.softplus(self.beta * self._field_at(units, i)).sum(dim=2) / self.beta for i in self._summed
        ]
        parts += [(units[index] * self.fields[index]).sum(dim=2) for index in self._maximised]
        return functools.reduce(torch.add, parts)

    @property
    def _summed(self) -> range:
        return range(self.summed, len(self.fields), 2)

    @property
    def _maximised(self) -> range:
        return range(1 - self.summed, len(self.fields), 2)

    def _field_at(self, units: list[Tensor], index: int) -> Tensor:
        field = self.fields[index]
        if index > 0:
            field = field + units[index - 1] @ self.couplings[index - 1]
        if index + 1 < len(self.fields):
            field = field + units[index + 1] @ self.couplings[index].T
        return field


@dataclass(frozen=True, eq=False)
class DeepEnergy:
    """The energy of a batch, for any class units on.

    Attributes:
        layers: C = 1, no class unit on.
        values: (B, 1, nv), the visible units if they are fixed: 1 if f > 0.
        weight: (K, n_L), couplings to the class units.
        classes: (B or 1, K), field of the class units themselves, 0 without noise.
        lam: one-hot penalty.
    """

    layers: DeepLayers
    values: Tensor
    weight: Tensor
    classes: Tensor
    lam: float

    def scores(self, states: Tensor, *, free: bool) -> Tensor:
        """Return -F (B, S) of class states: S_k and what class units add among themselves.

        The term f . v is counted relative to its value for the fixed visible units, which is common to all
        states.

        Args:
            states: (B or 1, S, K) in {0, 1}.
            free: maximise over visible units, too, starting from their fixed values; False: they stay fixed.
        """
        *inner, last = self.layers.fields
        layers = replace(self.layers, fields=(*inner, last + states @ self.weight))
        among = (states * self.classes.unsqueeze(1)).sum(dim=2) - class_energies(states, self.lam)
        rest = layers.fold(self.values)
        hidden = rest.maximise(_HIDDEN_SHARPNESS)
        if not free:
            return rest.score(hidden) + among
        values = self.values.detach()
        units = layers.maximise(_VISIBLE_SHARPNESS, [values, *hidden])
        return layers.score(units) - (values * layers.fields[0]).sum(dim=2) + among

    @property
    def single_states(self) -> Tensor:
        """Return the class states (1, K, K) with one class unit on each."""
        classes = self.weight
        return torch.eye(len(classes), dtype=classes.dtype, device=classes.device).unsqueeze(0)

    def competing_states(self, labels: Tensor, most: int) -> Tensor:
        """Return class states (B, S, K): the class of ``labels`` (B,) alone, then the most likely others.

        These are the ``most`` other classes with the highest scores (visible units fixed), each alone; each
        pair of the label and the two highest; and no class at all.
        """
        classes = self.weight.shape[0]
        with torch.no_grad():
            scores = self.scores(self.single_states, free=False)
            ranked = scores.scatter(1, labels.unsqueeze(1), math.inf).topk(min(most + 1, classes)).indices
        alone = fn.one_hot(ranked, classes).to(scores)
        pairs = [alone[:, i] + alone[:, j] for i, j in combinations(range(min(3, alone.shape[1])), 2)]
        return torch.cat((alone, torch.stack([*pairs, torch.zeros_like(alone[:, 0])], dim=1)), dim=1)


def energy_layers(
    network: NetworkModule, features: Tensor, beta: float, lam: float, errors: Errors | None = None
) -> DeepEnergy:
    """Return the energy of a batch with ``features`` (B, nv) of ``network``.

    Args:
        network: the network, with hidden units.
        features: (B, nv) in [-alpha, alpha].
        beta: inverse temperature at which layers are summed out.
        lam: one-hot penalty.
        errors: of h and J, for the largest |h| and |J| that any image can give; None: there are none.
    """
    couplings, biases = _couplings(network)
    couplings.append(network.classes.weight.T)
    fields = [features, *biases, features.new_zeros(1, network.architecture.classes)]
    values = _values(network.architecture, features)
    if errors:
        fields, couplings = _perturb(fields, couplings, network.architecture.alpha, lam, errors)
    *inner, classes = [field.reshape(-1, 1, field.shape[-1]) for field in fields]
    layers = DeepLayers(tuple(inner), tuple(couplings[:-1]), 1, beta)
    return DeepEnergy(layers, values.unsqueeze(1), couplings[-1].T, classes.squeeze(1), lam)


def initialise_weights(network: NetworkModule) -> None:
    """Draw the weights of ``network``: couplings so large that units differ, no biases, class codes of +-1.

    The couplings of a layer are normal with standard deviation 1.2 / sqrt(inputs): about half of them act at
    once, so their sum is about 1, a few times 1 / beta. Each class has a balanced random code of +1 and -1.
    """
    with torch.no_grad():
        for name, value in network.energy.named_parameters():
            if name.endswith("bias"):
                value.zero_()
            else:
                value.normal_(0.0, 1.2 / math.sqrt(value[0].numel()))
        head = network.classes.weight
        for row in head:
            order = torch.randperm(head.shape[1])
            row.copy_(torch.where(order < head.shape[1] // 2, 1.0, -1.0))


def _values(architecture: Architecture, features: Tensor) -> Tensor:
    """Return visible units (B, nv) that are 1 if f > 0.

    A step function has no slope. So feature layers learn as if the units were (1 + f / alpha) / 2
    (straight-through estimator, Bengio et al. 2013, arXiv 1308.3432).
    """
    values = (features > 0).to(features)
    if not architecture.has_feature_layers:
        return values
    slope = features / (2.0 * architecture.alpha)
    return values + slope - slope.detach()


def _perturb(
    fields: list[Tensor], couplings: list[Tensor], alpha: float, lam: float, errors: Errors
) -> tuple[list[Tensor], list[Tensor]]:
    """Add errors to h and J of all units, class units last; h and dJ are drawn for x = (1 + s) / 2.

    dE = sum h s + sum dJ s s adds -2 h + 2 (sum of dJ around a unit) to its field, and -4 dJ to a coupling.
    What errors of a pair of class units add with one of them on is part of its field.
    """
    with torch.no_grad():
        classes = couplings[-1].shape[1]
        visible, *pulls = [sums / 4 for sums in _coupling_sums(couplings)]
        # f = +-alpha is the most that an image can give; Q[hc_k, hc_k] = -lam, Q[hc_k, hc_l] = 2 lam.
        middle = [*(field / 2 for field in fields[1:-1]), fields[-1] - lam * (classes - 2) / 2]
        spins = [field + field for field, field in zip(middle, pulls, strict=True)]
        scaled = errors.scaled(
            max(alpha / 2 + float(visible.abs().max()), *(float(h.abs().max()) for h in spins)),
            max(lam / 2, *(float(weight.abs().max()) / 4 for weight in couplings)),
        )
        noise_j = [scaled.draw_j(weight) * (weight != 0) for weight in couplings]
        pairs = scaled.draw_j(visible.new_empty(classes, classes)).triu(1)
        shifts = _coupling_sums(noise_j)
        shifts[-1] = shifts[-1] + pairs.sum(dim=0) + pairs.sum(dim=1)
        images = len(fields[0])
        drawn = [2.0 * shift - 2.0 * scaled.draw_h(shift.device, images, len(shift)) for shift in shifts]
    noisy = [weight - 4.0 * error for weight, error in zip(couplings, noise_j, strict=True)]
    return [field + error for field, error in zip(fields, drawn, strict=True)], noisy


def _coupling_sums(couplings: list[Tensor]) -> list[Tensor]:
    """Return, for each layer, the sums (n_i,) of all couplings of each unit."""
    outward = [*(weight.sum(dim=1) for weight in couplings), couplings[-1].new_zeros(())]
    inward = [couplings[0].new_zeros(()), *(weight.sum(dim=0) for weight in couplings)]
    return [left + right for left, right in zip(inward, outward, strict=True)]


def _couplings(network: NetworkModule) -> tuple[list[Tensor], list[Tensor]]:
    """Return couplings (n_in, n_out) between the layers of units, and biases (n_out,) of the hidden ones."""
    architecture, like = network.architecture, network.classes.weight
    couplings, biases = [], []
    for index, (spec, layer) in enumerate(zip(architecture.energy, network.energy, strict=True)):
        before, after = architecture.unit_shapes[index : index + 2]
        if isinstance(spec, PoolUnits):
            mask = torch.from_numpy(pool_mask(spec, before).copy()).to(like)
            couplings.append(architecture.alpha * mask)
            biases.append(like.new_zeros(math.prod(after)))
            continue
        indices = (torch.from_numpy(array.copy()) for array in weight_index(spec, before, after))
        places, mask = (array.to(like.device) for array in indices)
        assert isinstance(layer, nn.Conv2d | nn.Linear)  # noqa: S101  (what Network makes of such a layer)
        assert layer.bias is not None  # noqa: S101  (the same)
        couplings.append(layer.weight.reshape(-1)[places] * mask)
        biases.append(layer.bias.repeat_interleave(bias_repeats(spec, after)))
    return couplings, biases
