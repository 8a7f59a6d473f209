"""The torch side of feature layers, one after another: those of one source, or of a whole network."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from schema.network.layers import Conv, Dense, Histogram, MaxPool
from schema.network.sources import LayerStack


class FeatureStack(nn.Module):
    """The layers of ``stack``, named by their index.

    Args:
        stack: their specifications.
        place: which values of a row they take; None: they take the whole input. See `Architecture.places`.
        normalise: batch normalisation after each of them that has weights, while training only; ``folded``
            gives weights that need none.
    """

    def __init__(self, stack: LayerStack, place: slice | None, *, normalise: bool) -> None:
        super().__init__()
        self.stack = stack
        self._place = place
        self._layers = _layers(stack)
        for index, layer in enumerate(self._layers):
            self.add_module(str(index), layer)
        self.norms = nn.ModuleDict(_norms(stack) if normalise else {})
        self.standard: Standard | None = None
        self._is_signed = stack.last_activation == "tanh"

    def forward(self, pixels: Tensor) -> Tensor:
        """Return the values (B, n) in [0, 1] of the visible units for ``pixels``; see `first_layer_input`."""
        out = self._own(pixels)
        activation = None  # postponed: it is monotonic, so after a pool it gives the same, of fewer values
        for index, (spec, layer) in enumerate(zip(self.stack.layers, self._layers, strict=True)):
            if activation is not None and not isinstance(spec, MaxPool):
                out, activation = activation(out), None
            if index == self.stack.vector_at and self.standard is not None:
                out = self.standard(out)
            out = layer(out.flatten(1) if isinstance(spec, Dense) else out)
            if isinstance(spec, Conv | Dense):
                out = self.norms[str(index)](out) if str(index) in self.norms else out
                activation = _ACTIVATIONS[spec.activation]
        out = (out if activation is None else activation(out)).flatten(1)
        return 0.5 * (out + 1.0) if self._is_signed else out

    def vectors(self, pixels: Tensor) -> Tensor:
        """Return what the first trained layer takes, (B, D), where that is a vector."""
        out = self._own(pixels)
        for layer in self._layers[: self.stack.vector_at]:
            out = layer(out)
        return out

    def _own(self, pixels: Tensor) -> Tensor:
        """Return what the first layer takes of ``pixels``, which other sources may take other parts of."""
        return pixels if self._place is None else pixels[:, self._place].reshape(-1, *self.stack.takes)

    def standardise(self, mean: Tensor, deviation: Tensor) -> None:
        """Subtract ``mean`` (D,) from `vectors`, and divide them by ``deviation`` (D,); see `Standard`."""
        self.standard = Standard(mean, deviation)

    def first_dense(self) -> Tensor | None:
        """Return the weights of the first dense layer, without its bias, if there is one."""
        for layer in self._layers:
            if isinstance(layer, nn.Linear):
                return layer.weight
        return None

    def fold(self, state: dict[str, Tensor]) -> None:
        """Change the weights ``state``, so that they need no normalisation and no standardisation.

        The former (Ioffe and Szegedy 2015) is folded into the layer before it, the latter into the first
        dense layer.
        """
        for index, norm in self.norms.items():
            assert isinstance(norm, nn.BatchNorm1d | nn.BatchNorm2d)  # noqa: S101  (what _norms makes)
            assert norm.running_mean is not None and norm.running_var is not None  # noqa: S101, PT018
            gain = norm.weight.detach() / torch.sqrt(norm.running_var + norm.eps)
            name = f"{self.stack.prefix}.{index}"
            weight, bias = state[f"{name}.weight"], state[f"{name}.bias"]
            state[f"{name}.weight"] = weight * gain.reshape(-1, *[1] * (weight.dim() - 1))
            state[f"{name}.bias"] = (bias - norm.running_mean) * gain + norm.bias.detach()
        if self.standard is not None:
            name = f"{self.stack.prefix}.{self.stack.vector_at}"
            exact = state[f"{name}.weight"].double() * self.standard.gain
            state[f"{name}.weight"] = exact.float()
            state[f"{name}.bias"] = (state[f"{name}.bias"] - exact @ self.standard.mean.double()).float()


class SourceStacks(nn.Module):
    """The layers of each source, by its name."""

    def __init__(self, stacks: dict[str, FeatureStack]) -> None:
        super().__init__()
        # Not add_module, which refuses names of a module's own methods: `type`, `float`.
        self._modules.update(stacks)


class ColourHistogram(nn.Module):
    """Shares of pixels (B, C, h, w) in [0, 1] by the range of each colour, (B, bins ^ C)."""

    def __init__(self, bins: int) -> None:
        super().__init__()
        self._bins = bins

    def forward(self, pixels: Tensor) -> Tensor:
        steps = (pixels * self._bins).long().clamp_(0, self._bins - 1).flatten(2)
        index = steps[:, 0]
        for channel in range(1, steps.shape[1]):
            index = index * self._bins + steps[:, channel]
        counts = pixels.new_zeros(len(pixels), self._bins ** steps.shape[1])
        return counts.scatter_add_(1, index, torch.ones_like(index, dtype=counts.dtype)) / index.shape[1]


class Standard(nn.Module):
    """Standardises vectors (B, D), while training only; `FeatureStack.fold` gives weights that need none.

    A value that does not vary, up to rounding, gives 0: nothing can be learnt of it, and a weight for it
    would turn the least difference into a large one.
    """

    mean: Tensor
    gain: Tensor

    def __init__(self, mean: Tensor, deviation: Tensor) -> None:
        super().__init__()
        varies = deviation > 1e-6 * mean.abs()
        self.register_buffer("mean", mean)
        self.register_buffer("gain", torch.where(varies, 1.0 / deviation.clamp_min(1e-30), 0.0))

    def forward(self, vectors: Tensor) -> Tensor:
        return (vectors - self.mean) * self.gain


_ACTIVATIONS = {"relu": torch.relu, "sigmoid": torch.sigmoid, "tanh": torch.tanh}


def _layers(stack: LayerStack) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for spec, before in zip(stack.layers, (stack.takes, *stack.shapes), strict=False):
        if isinstance(spec, Conv):
            layers.append(nn.Conv2d(before[0], spec.filters, spec.kernel, spec.stride, spec.padding))
        elif isinstance(spec, MaxPool):
            layers.append(nn.MaxPool2d(spec.size))
        elif isinstance(spec, Histogram):
            layers.append(ColourHistogram(spec.bins))
        else:
            assert isinstance(spec, Dense)  # noqa: S101  (a backbone is not among trained layers)
            layers.append(nn.Linear(math.prod(before), spec.units))
    return layers


def _norms(stack: LayerStack) -> dict[str, nn.Module]:
    norms: dict[str, nn.Module] = {}
    for index, spec in enumerate(stack.layers):
        if isinstance(spec, Conv):
            norms[str(index)] = nn.BatchNorm2d(spec.filters)
        elif isinstance(spec, Dense):
            norms[str(index)] = nn.BatchNorm1d(spec.units)
    return norms
