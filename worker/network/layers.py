"""The torch side of a network: feature layers, and class free energies that the sampler also obeys.

Signs: E = - f . v - sum v_i W[i, k] hc_k + lam (m^2 - 2 m), with m class units on (Higham and Bedford, arXiv
2107.08710, eq. 4 and 6, one minus sign for each term). Fields are minus the linear biases of E.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from itertools import combinations

import torch
import torch.nn.functional as fn
from torch import Tensor, nn

from schema.network.architecture import THRESHOLD, Architecture
from schema.network.layers import ConvUnits, DenseUnits, ImageInput, PoolUnits
from schema.network.sources import LayerStack
from worker.network.stacks import FeatureStack, SourceStacks

Names = Collection[str]

# Up to the first number of classes all 2^K class states are trained on; up to the second, those with at most
# two classes on; above, with one or none: there would be too many pairs.
_ENUMERATED_CLASSES = 5
_PAIRED_CLASSES = 20


class NetworkModule(nn.Module):
    """Feature layers and the weights of the units of Q, named as in ``Architecture.shapes``.

    Args:
        architecture: layers and sizes.
        normalise: batch normalisation after each classical layer, while training only; ``folded`` gives
            weights that need none. None: not where the first layers take vectors, see `LayerStack.vector_at`.
        threshold: first value of the trained threshold of ``Tone``; None: there is none.
    """

    def __init__(
        self, architecture: Architecture, *, normalise: bool | None = False, threshold: float | None = None
    ) -> None:
        super().__init__()
        self.architecture = architecture
        self.stacks = [
            _stack(stack, place, normalise)
            for stack, place in zip(architecture.stacks, architecture.places, strict=True)
        ]
        if architecture.source:
            self.sources = SourceStacks({stack.stack.name or "": stack for stack in self.stacks})
        else:
            self.features = self.stacks[0]
        self.energy = nn.ModuleList(_unit_layers(architecture))
        self.classes = nn.Linear(architecture.sizes[-2], architecture.classes, bias=False)
        self.tone = None if threshold is None else Tone(threshold)
        self._dropout = SourceDropout.of(architecture)

    def pixels(self, images: Tensor) -> Tensor:
        """Return ``images`` as the first layer takes them; see `first_layer_input`."""
        return first_layer_input(self.architecture, images)

    def visible(self, pixels: Tensor, without: Names = ()) -> Tensor:
        """Return the feature values (B, nv) in [-alpha, alpha] of ``pixels``; see `first_layer_input`.

        Those of the sources ``without`` which the network does are 0.
        """
        return self.architecture.alpha * (2.0 * self.values(pixels, without) - 1.0)

    def values(self, pixels: Tensor, without: Names = ()) -> Tensor:
        """Return the values of the visible units (B, nv) in [0, 1]; see `first_layer_input`.

        Those of the sources ``without`` which the network does are 1/2, where a feature value is 0.
        """
        parts = [
            pixels.new_full((len(pixels), math.prod(stack.stack.gives)), 0.5)
            if stack.stack.name in without
            else stack(pixels)
            for stack in self.stacks
        ]
        out = parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)
        if self.training and self._dropout is not None:
            out = self._dropout(out)
        return out if self.tone is None else self.tone(out)

    def logits(self, pixels: Tensor, without: Names = ()) -> Tensor:
        """Return the class logits (B, K) of the classical network for ``pixels``.

        They are x W with b = 0 (Higham and Bedford, 3.1). Pooling layers take the maximum, hidden units are
        sigmoid; tanh features go in as -1 to 1.
        """
        return self.value_logits(self.values(pixels, without))

    def value_logits(self, values: Tensor) -> Tensor:
        """Return the class logits (B, K) of ``values`` (B, nv) in [0, 1] of the visible units."""
        out = 2.0 * values - 1.0 if signed(self.architecture) else values
        for index, (spec, layer) in enumerate(zip(self.architecture.energy, self.energy, strict=True)):
            before = self.architecture.unit_shapes[index]
            out = layer(out.flatten(1) if isinstance(spec, DenseUnits) else out.reshape(-1, *before))
            out = out if isinstance(spec, PoolUnits) else torch.sigmoid(out)
        logits: Tensor = self.classes(out.flatten(1))
        return logits

    def folded(self) -> dict[str, Tensor]:
        """Return all weights for inference, without normalisation; see `FeatureStack.fold`."""
        names = [*self.architecture.shapes, *([] if self.tone is None else [THRESHOLD])]
        state = {name: self.state_dict()[name].clone() for name in names}
        for stack in self.stacks:
            stack.fold(state)
        return state


class SourceDropout(nn.Module):
    """Leaves sources out of images (B, nv) of a training, at random; at least one remains.

    Args:
        shares: (S,), of the images that do without each source.
        sizes: (S,), its visible units.
    """

    def __init__(self, shares: Sequence[float], sizes: Sequence[int]) -> None:
        super().__init__()
        self._shares, self._sizes = torch.tensor(shares), torch.tensor(sizes)

    @classmethod
    def of(cls, architecture: Architecture) -> SourceDropout | None:
        """Return that of ``architecture``; None: each image has all sources."""
        shares = [source.dropout for source in architecture.source]
        sizes = [block.stop - block.start for block in architecture.blocks.values()]
        return cls(shares, sizes) if any(shares) else None

    def forward(self, values: Tensor) -> Tensor:
        stays = torch.rand(len(values), len(self._shares)) >= self._shares
        empty = (~stays.any(dim=1)).nonzero().squeeze(1)
        stays[empty, torch.randint(len(self._shares), (len(empty),))] = True
        return torch.where(stays.repeat_interleave(self._sizes, dim=1), values, 0.5)


class Tone(nn.Module):
    """Tone curve of values in [0, 1]: linear from 0 to 1/2 at the threshold, and linear on to 1.

    A threshold of 1/2 changes nothing. Feature values change their sign at the threshold, so a visible unit
    is on above it; black stays 0 and white stays 1.
    """

    def __init__(self, threshold: float) -> None:
        super().__init__()
        self.threshold = nn.Parameter(torch.tensor([threshold]))

    def forward(self, values: Tensor) -> Tensor:
        t = self.threshold
        return torch.where(values < t, values / t, 1.0 + (values - t) / (1.0 - t)) / 2.0


def signed(architecture: Architecture) -> bool:
    """Return whether the classical head of ``architecture`` takes features in [-1, 1] (tanh), not [0, 1]."""
    return architecture.last_activation == "tanh"


def _stack(stack: LayerStack, place: slice | None, normalise: bool | None) -> FeatureStack:
    return FeatureStack(stack, place, normalise=stack.vector_at is None if normalise is None else normalise)


def first_layer_input(architecture: Architecture, images: Tensor) -> Tensor:
    """Return ``images`` as the first layers of ``architecture`` take them, float32.

    Vectors (B, D) stay. Pixels, (B, H, W) or (B, H, W, 3) uint8, become (B, channels, h, w) in [0, 1]:
    p / image_max, then the means of blocks, as its input says. In rows of joined values, see
    `features.join_inputs`, the pixels at their end become so, in a row.
    """
    spec = architecture.input
    if not isinstance(spec, ImageInput):
        return images
    if not architecture.backbones:
        return _planes(spec, images)
    vectors = sum(layer.values for layer in architecture.backbones)
    row = images[:, :vectors].float()
    if not architecture.sees_images:
        return row
    pixels = images[:, vectors:].reshape(-1, *spec.image_shape.sizes)
    return torch.cat([row, _planes(spec, pixels).flatten(1)], dim=1)


def _planes(spec: ImageInput, images: Tensor) -> Tensor:
    planes = images.unsqueeze(1) if spec.channels == 1 else images.movedim(3, 1)
    pixels = planes.float() / spec.image_max
    return fn.avg_pool2d(pixels, spec.average) if spec.average > 1 else pixels


def class_states(classes: int) -> Tensor:
    """Return class states (S, K) float in {0, 1}; state k < K is class k alone.

    The others follow: for few ``classes`` all, for more only those with no or two units on, which a weak
    penalty allows.
    """
    most = classes if classes <= _ENUMERATED_CLASSES else 2 if classes <= _PAIRED_CLASSES else 0
    sizes = [0, *range(2, most + 1)]
    rows = [torch.eye(classes)]
    for size in sizes:
        chosen = list(combinations(range(classes), size))
        rows.append(torch.stack([_indicator(classes, units) for units in chosen]))
    return torch.cat(rows)


def state_scores(
    field: Tensor, weight: Tensor, states: Tensor, class_energy: Tensor, beta: float | Tensor
) -> Tensor:
    """Return -beta F (B, S) of each class state; its softmax is the probability of the state.

    The units that the class units are coupled to are summed out:

        -beta F(s) = - beta E_class(s) + sum_i softplus(beta (field_i + sum_k W[i, k] s_k))

    This is a discriminative restricted Boltzmann machine (Larochelle and Bengio 2008). For one-hot states it
    is exactly the distribution of the classes of a Boltzmann sampler at ``beta``.

    Args:
        field: (B, n), minus the bias of the units that the class units are coupled to.
        weight: (K, n), W transposed.
        states: (S, K) in {0, 1}.
        class_energy: (S,) or (B, S), energy of the class units among themselves.
        beta: inverse temperature.
    """
    pull = states @ weight
    inside = fn.softplus(beta * (field.unsqueeze(1) + pull)).sum(dim=2)
    return inside - beta * class_energy


def class_energies(states: Tensor, lam: float) -> Tensor:
    """Return lam (m^2 - 2 m), shape (...), of ``states`` (..., K) with m units on.

    It is the sum of -``lam`` for each unit and 2 ``lam`` for each pair.

    >>> class_energies(torch.tensor([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0]]), 3.0).tolist()
    [0.0, -3.0, 0.0]
    """
    on = states.sum(dim=-1)
    return lam * (on * on - 2.0 * on)


def pool_field(features: Tensor, coupling: Tensor | float, beta: float | Tensor) -> Tensor:
    """Return the effective field (B, M) of each pooling unit, its visible units summed out.

    It is the difference of the free energies of a pool with hp off and on:

        sum_i softplus(beta (f_i + alpha)) - softplus(beta f_i), divided by beta

    Args:
        features: (B, M, Np), by pool.
        coupling: alpha.
        beta: inverse temperature.
    """
    on, off = fn.softplus(beta * (features + coupling)), fn.softplus(beta * features)
    return (on - off).sum(dim=2) / beta


def split_pools(features: Tensor, shape: tuple[int, ...], size: int) -> Tensor:
    """Return ``features`` (B, nv) of ``shape`` (channels, rows, columns) by pool: (B, M, Np).

    A pool has ``size`` x ``size`` = Np neighbouring units of one channel.
    """
    channels, rows, columns = shape
    blocks = features.reshape(-1, channels, rows // size, size, columns // size, size)
    return blocks.permute(0, 1, 2, 4, 3, 5).reshape(len(features), -1, size * size)


def _indicator(classes: int, units: tuple[int, ...]) -> Tensor:
    state = torch.zeros(classes)
    state[list(units)] = 1.0
    return state


def _unit_layers(architecture: Architecture) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for spec, before in zip(architecture.energy, architecture.unit_shapes, strict=False):
        if isinstance(spec, ConvUnits):
            layers.append(nn.Conv2d(before[0], spec.filters, spec.kernel, spec.stride))
        elif isinstance(spec, DenseUnits):
            layers.append(nn.Linear(_count(before), spec.units))
        else:
            layers.append(nn.MaxPool2d(spec.size))
    return layers


def _count(shape: tuple[int, ...]) -> int:
    return int(torch.Size(shape).numel())
