"""A network that is ready: its architecture, its weights, its features and energy models."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from schema.errors import NetworkError
from schema.network import weights
from schema.network.architecture import Architecture
from schema.network.temperature import temperature_of
from schema.shapes import InputArray
from worker.network import features, transfer
from worker.qubo.energy_model import EnergyModel

if TYPE_CHECKING:
    from worker.network.layers import NetworkModule

_CACHED_MODELS = 16


@dataclass(frozen=True, eq=False)
class TrainedNetwork:
    """A network that is ready: its layers, its weights, and the transfer that it was trained for.

    Attributes:
        temperature: that its class scores are divided by before a softmax gives probabilities; 1: as in
            training. See `temperature.py`.
        without: sources that are left out; see `leaving_out`.
    """

    architecture: Architecture
    weights: weights.Weights
    transfer: str
    temperature: float = 1.0
    without: tuple[str, ...] = ()

    @classmethod
    def of(
        cls, architecture: Architecture, data: bytes, transfer: str, metrics: Mapping[str, Any] | None
    ) -> TrainedNetwork:
        """Return the network of ``architecture`` with the encoded weights ``data``.

        Args:
            transfer: that it was trained for.
            metrics: as the row of a network has them, with the temperature.

        Raises:
            NetworkError: the weights do not fit.
        """
        decoded = weights.decode(data, architecture)
        return cls(architecture, decoded, transfer, temperature_of(metrics))

    def features(self, images: InputArray) -> NDArray[np.float64]:
        """Return the feature values (B, nv) float64 of B ``images``, as its trained layers take them."""
        return features.features(self.module, images, self.without)

    def leaving_out(self, without: Collection[str] | None) -> TrainedNetwork:
        """Return this network ``without`` these sources: their feature values, and so the biases h, are 0.

        Raises:
            NetworkError: it has no such source.
        """
        return self._leaving_out(tuple(sorted(without))) if without else self

    @lru_cache(maxsize=_CACHED_MODELS)  # noqa: B019 - as for `model`
    def _leaving_out(self, without: tuple[str, ...]) -> TrainedNetwork:
        if unknown := set(without) - set(self.architecture.blocks):
            raise NetworkError(f"network {self.architecture.name!r} has no source {min(unknown)!r}")
        left = replace(self, without=without)
        left.__dict__["module"] = self.module  # built once for both
        return left

    @cached_property
    def module(self) -> NetworkModule:
        """Return the torch network with these weights, for inference; built once."""
        return features.restore(self.architecture, self.weights)

    @lru_cache(maxsize=_CACHED_MODELS)  # noqa: B019 - networks live as long as their registry
    def model(self, visible: str, lam: float | None) -> EnergyModel:
        """Return the energy model for ``visible`` and ``lam``, built once; see `transfer.energy_model`."""
        return transfer.energy_model(
            self.architecture, self.weights, self.transfer, visible, lam=lam, without=self.without
        )
