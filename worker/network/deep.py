"""Class scores of networks with hidden units, through the energy that is sampled.

Layers of units x_0 = v, x_1, ..., x_L, coupled to their neighbours only, then the classes. Given every second
layer the others are independent, so those between are summed out at inverse temperature beta, and the rest is
set to what is best. With class k alone on

    S_k = max over x_0, x_2, ... of sum_(i even) field_i . x_i + sum_(i odd) sum_j softplus(beta z_ij) / beta
    z_i = field_i + x_(i-1) W_(i-1) + x_(i+1) W_i^T

where field_0 is f, field_i the bias b_i, and field_L has W[:, k] added; of two classes on, both. All fields
are minus the coefficients of E, as in `layers.py`. A discriminative restricted Boltzmann machine (Larochelle
and Bengio 2008) with latent units that are found, not summed. The gradient of S at the maximum is that with
the found units held fixed (envelope theorem), so nothing is differentiated through the search.
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
from worker.network.layers import NetworkModule, class_energies

# Sharpness of the found units, step by step: u = sigmoid(sharpness z), at last u = [z > 0]. A slow start
# where only visible units are known; a short one from where that ended, to let these move too.
_SETTLING = (*(0.5 * 2 ** (step / 2) for step in range(6)), math.inf, math.inf)
_RELEASE = (3.0, 3.0, math.inf, math.inf)


@dataclass(frozen=True, eq=False)
class DeepLayers:
    """The energy of layers of units with one of C classes alone on.

    fields: (B or 1, C or 1, n_i) for each layer. couplings: (n_i, n_(i+1)) between consecutive layers.
    summed: 0 or 1, layers 0, 2, ... or 1, 3, ... are summed out. beta: above 0.
    """

    fields: tuple[Tensor, ...]
    couplings: tuple[Tensor, ...]
    summed: int
    beta: float

    def fold(self, first: Tensor) -> DeepLayers:
        """What is left where the first layer's values (B, C or 1, n_0) are known, but for field_0 . x_0."""
        field = self.fields[1] + first @ self.couplings[0]
        return DeepLayers((field, *self.fields[2:]), self.couplings[1:], 1 - self.summed, self.beta)

    def settle(self, sharpness: tuple[float, ...], start: list[Tensor] | None = None) -> list[Tensor]:
        """Values (B, C, n_i) of the units near the maximum: block ascent, found units ever sharper."""
        with torch.no_grad():
            units = list(start or map(torch.sigmoid, self.fields))
            for sharp in sharpness if self._found else ():
                for index in self._summed:
                    units[index] = torch.sigmoid(self.beta * self._pull(units, index))
                for index in self._found:
                    pull = self._pull(units, index)
                    units[index] = torch.sigmoid(sharp * pull) if sharp < math.inf else (pull > 0).to(pull)
        return units

    def score(self, units: list[Tensor]) -> Tensor:
        """S (B, C) at the found ``units``; those that are summed out are not looked at."""
        parts = [fn.softplus(self.beta * self._pull(units, i)).sum(dim=2) / self.beta for i in self._summed]
        parts += [(units[index] * self.fields[index]).sum(dim=2) for index in self._found]
        return functools.reduce(torch.add, parts)

    @property
    def _summed(self) -> range:
        return range(self.summed, len(self.fields), 2)

    @property
    def _found(self) -> range:
        return range(1 - self.summed, len(self.fields), 2)

    def _pull(self, units: list[Tensor], index: int) -> Tensor:
        pull = self.fields[index]
        if index > 0:
            pull = pull + units[index - 1] @ self.couplings[index - 1]
        if index + 1 < len(self.fields):
            pull = pull + units[index + 1] @ self.couplings[index].T
        return pull


@dataclass(frozen=True, eq=False)
class DeepEnergy:
    """The energy of a batch, for any class units on.

    layers: C = 1, no class unit on. values: (B, 1, nv), the visible units where they are known: 1 where
    f > 0. weight: (K, n_L), couplings to the class units. classes: (B or 1, K), field of the class units
    themselves, 0 without noise. lam: one-hot penalty.
    """

    layers: DeepLayers
    values: Tensor
    weight: Tensor
    classes: Tensor
    lam: float

    def scores(self, states: Tensor, *, free: bool) -> Tensor:
        """-F (B, S) of class states (B or 1, S, K) in {0, 1}: S_k and what class units add among themselves.

        free: visible units are found too, instead of fixed as they are known. Either way f . v counts from
        the known values on: that much is common to all states.
        """
        *inner, last = self.layers.fields
        layers = replace(self.layers, fields=(*inner, last + states @ self.weight))
        among = (states * self.classes.unsqueeze(1)).sum(dim=2) - class_energies(states, self.lam)
        rest = layers.fold(self.values)
        hidden = rest.settle(_SETTLING)
        if not free:
            return rest.score(hidden) + among
        values = self.values.detach()
        units = layers.settle(_RELEASE, [values, *hidden])
        return layers.score(units) - (values * layers.fields[0]).sum(dim=2) + among

    def competitors(self, labels: Tensor, most: int) -> Tensor:
        """Class states (B, S, K): the label (B,) alone, then those that are most likely to win instead.

        These are the ``most`` other classes of the highest scores with visible units fixed, each alone; every
        pair of the label and the two highest; and no class at all.
        """
        classes = self.weight.shape[0]
        with torch.no_grad():
            scores = self.scores(torch.eye(classes).unsqueeze(0), free=False)
            ranked = scores.scatter(1, labels.unsqueeze(1), math.inf).topk(min(most + 1, classes)).indices
        alone = fn.one_hot(ranked, classes).to(scores)
        pairs = [alone[:, i] + alone[:, j] for i, j in combinations(range(min(3, alone.shape[1])), 2)]
        return torch.cat((alone, torch.stack([*pairs, torch.zeros_like(alone[:, 0])], dim=1)), dim=1)


def energy_layers(
    network: NetworkModule, features: Tensor, beta: float, lam: float, sigma: float = 0.0
) -> DeepEnergy:
    """The energy of a batch with feature values (B, nv).

    sigma: standard deviation of Gaussian noise on h and J, as a fraction of the largest |h| and |J| that any
    image can give; errors of J are drawn once a batch, those of h for each image.
    """
    couplings, biases = _couplings(network)
    couplings.append(network.classes.weight.T)
    fields = [features, *biases, features.new_zeros(1, network.architecture.classes)]
    values = _values(network.architecture, features)
    if sigma:
        fields, couplings = _perturb(fields, couplings, network.architecture.alpha, lam, sigma)
    *inner, classes = [field.reshape(-1, 1, field.shape[-1]) for field in fields]
    layers = DeepLayers(tuple(inner), tuple(couplings[:-1]), 1, beta)
    return DeepEnergy(layers, values.unsqueeze(1), couplings[-1].T, classes.squeeze(1), lam)


def initialise_weights(network: NetworkModule) -> None:
    """Couplings of a size that lets units differ, no biases, and a balanced code of +-1 for each class.

    A layer's couplings are normal with standard deviation 1.2 / sqrt(inputs): half of them act at once, and
    their sum is then about 1, a few times 1 / beta.
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
    """Visible units (B, nv) that are 1 where f > 0.

    Feature layers learn as if the units were (1 + f / alpha) / 2: a step by itself has no slope.
    """
    values = (features > 0).to(features)
    if not architecture.features:
        return values
    slope = features / (2.0 * architecture.alpha)
    return values + slope - slope.detach()


def _perturb(
    fields: list[Tensor], couplings: list[Tensor], alpha: float, lam: float, sigma: float
) -> tuple[list[Tensor], list[Tensor]]:
    """Noise on h and J of all units, class units last: h and dJ drawn for x = (1 + s) / 2.

    dE = sum h s + sum dJ s s adds -2 h + 2 (sum of dJ around a unit) to its field, and -4 dJ to a coupling.
    What the errors of a pair of class units add with one of them on is in its field.
    """
    with torch.no_grad():
        classes = couplings[-1].shape[1]
        visible, *pulls = [around / 4 for around in _around(couplings)]
        # f = +-alpha is the most that an image can give; Q[hc_k, hc_k] = -lam, Q[hc_k, hc_l] = 2 lam.
        middle = [*(field / 2 for field in fields[1:-1]), fields[-1] - lam * (classes - 2) / 2]
        spins = [field + pull for field, pull in zip(middle, pulls, strict=True)]
        sigma_h = sigma * max(alpha / 2 + float(visible.abs().max()), *(float(h.abs().max()) for h in spins))
        sigma_j = sigma * max(lam / 2, *(float(weight.abs().max()) / 4 for weight in couplings))
        errors = [sigma_j * torch.randn_like(weight) * (weight != 0) for weight in couplings]
        pairs = sigma_j * torch.randn(classes, classes).triu(1)
        shifts = _around(errors)
        shifts[-1] = shifts[-1] + pairs.sum(dim=0) + pairs.sum(dim=1)
        images = len(fields[0])
        drawn = [2.0 * shift - 2.0 * sigma_h * torch.randn(images, len(shift)) for shift in shifts]
    noisy = [weight - 4.0 * error for weight, error in zip(couplings, errors, strict=True)]
    return [field + error for field, error in zip(fields, drawn, strict=True)], noisy


def _around(couplings: list[Tensor]) -> list[Tensor]:
    """Sums (n_i,) of all that couples each unit of each layer."""
    outward = [*(weight.sum(dim=1) for weight in couplings), couplings[-1].new_zeros(())]
    inward = [couplings[0].new_zeros(()), *(weight.sum(dim=0) for weight in couplings)]
    return [left + right for left, right in zip(inward, outward, strict=True)]


def _couplings(network: NetworkModule) -> tuple[list[Tensor], list[Tensor]]:
    """Couplings (n_in, n_out) between the layers of units, and biases (n_out,) of the hidden ones."""
    architecture = network.architecture
    couplings, biases = [], []
    for index, (spec, layer) in enumerate(zip(architecture.energy, network.energy, strict=True)):
        before, after = architecture.unit_shapes[index : index + 2]
        if isinstance(spec, PoolUnits):
            couplings.append(architecture.alpha * torch.from_numpy(pool_mask(spec, before).copy()).float())
            biases.append(torch.zeros(math.prod(after)))
            continue
        places, mask = (torch.from_numpy(array.copy()) for array in weight_index(spec, before, after))
        assert isinstance(layer, nn.Conv2d | nn.Linear)  # noqa: S101  (what Network makes of such a layer)
        assert layer.bias is not None  # noqa: S101  (the same)
        couplings.append(layer.weight.reshape(-1)[places] * mask)
        biases.append(layer.bias.repeat_interleave(bias_repeats(spec, after)))
    return couplings, biases
