"""The untrained network, and the optimiser of its weights."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from schema.network.architecture import THRESHOLD, Architecture
from schema.network.layers import Dense, Training
from worker.network.deep import initialise_weights
from worker.network.layers import NetworkModule
from worker.network.training.samples import Samples

_STANDARDISED = 10_000  # vectors that mean and standard deviation are taken of, at once


def start(architecture: Architecture, transfer: str) -> NetworkModule:
    """Return an untrained network; with hidden units on pixels it learns a threshold, too.

    Without an order in ``architecture``, batch normalisation is left out for vectors: it would make the scale
    of the first layer's weights meaningless, and decay could not keep them small.
    """
    chosen = architecture.training.batch_norm
    normalise = not takes_vectors(architecture) if chosen is None else chosen
    if transfer != "energy" or architecture.form != "deep":
        return NetworkModule(architecture, normalise=normalise)
    threshold = None if architecture.features else architecture.training.threshold
    network = NetworkModule(architecture, normalise=normalise, threshold=threshold)
    initialise_weights(network)
    return network


def takes_vectors(architecture: Architecture) -> bool:
    """Return whether the first layer of ``architecture`` sees a vector, not an image."""
    return len(architecture.input.shape) == 1


def standardise(network: NetworkModule, samples: Samples) -> None:
    """Let ``network`` standardise vectors by mean and standard deviation of ``samples``."""
    total = squares = torch.zeros(network.architecture.input.shape, dtype=torch.float64)
    for part in np.array_split(np.arange(len(samples)), -(-len(samples) // _STANDARDISED)):
        total = total + samples.inputs(network, part).double().sum(dim=0)
    mean = total / len(samples)
    for part in np.array_split(np.arange(len(samples)), -(-len(samples) // _STANDARDISED)):
        squares = squares + (samples.inputs(network, part).double() - mean).square().sum(dim=0)
    network.standardise(mean.float(), (squares / len(samples)).sqrt().float())


def optimiser(network: NetworkModule, plan: Training) -> torch.optim.AdamW:
    """Return the optimiser of ``network``: decay is decoupled from the gradient (Loshchilov and Hutter 2019).

    Each group has its ``share`` of the learning rate.
    """
    named = dict(network.named_parameters())
    groups: list[dict[str, Any]] = []
    if (threshold := named.pop(THRESHOLD, None)) is not None:
        # The threshold learns slowly: all pixels of all images change this one value.
        groups.append({"params": [threshold], "share": 0.05})
    if plan.dense_decay and (first := _first_dense(network)) is not None:
        named = {name: value for name, value in named.items() if value is not first}
        groups.append({"params": [first], "share": 1.0, "weight_decay": plan.dense_decay})
    groups.insert(0, {"params": list(named.values()), "share": 1.0})
    return torch.optim.AdamW(groups, lr=plan.learning_rate, weight_decay=plan.weight_decay)


def _first_dense(network: NetworkModule) -> Tensor | None:
    """Return the weights of the first dense feature layer of ``network``, without its bias, if it has one."""
    for spec, layer in zip(network.architecture.features, network.features, strict=True):
        if isinstance(spec, Dense):
            assert isinstance(layer, nn.Linear)  # noqa: S101  (what NetworkModule makes of it)
            return layer.weight
    return None
