"""The untrained network, and the optimiser of its weights."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from schema.network.architecture import THRESHOLD, Architecture
from schema.network.layers import Training
from worker.network.deep import initialise_weights
from worker.network.layers import NetworkModule
from worker.network.stacks import FeatureStack
from worker.network.training.samples import Samples

_STANDARDISED = 10_000  # vectors that mean and standard deviation are taken of, at once
_IMAGES = 1_000  # the same of images, which are larger


def start(architecture: Architecture, transfer: str) -> NetworkModule:
    """Return an untrained network; with hidden units on pixels it learns a threshold, too.

    Without an order in ``architecture``, batch normalisation is left out for vectors: it would make the scale
    of the first layer's weights meaningless, and decay could not keep them small.
    """
    normalise = architecture.training.batch_norm
    if transfer != "energy" or architecture.form != "deep":
        return NetworkModule(architecture, normalise=normalise)
    threshold = None if architecture.has_feature_layers else architecture.training.threshold
    network = NetworkModule(architecture, normalise=normalise, threshold=threshold)
    initialise_weights(network)
    return network


def standardise(network: NetworkModule, samples: Samples) -> None:
    """Let ``network`` standardise vectors by mean and standard deviation of ``samples``."""
    for stack in network.stacks:
        if stack.stack.vector_at is not None:
            _standardise(network, stack, samples)


def _standardise(network: NetworkModule, stack: FeatureStack, samples: Samples) -> None:
    def parts() -> Iterator[Tensor]:
        architecture = network.architecture
        of_pixels = architecture.sees_images and len(architecture.input.shape) > 1
        most = _IMAGES if of_pixels else _STANDARDISED
        for part in np.array_split(np.arange(len(samples)), -(-len(samples) // most)):
            yield stack.vectors(samples.inputs(network, part)).double()

    mean = torch.stack([part.sum(dim=0) for part in parts()]).sum(dim=0) / len(samples)
    squares = torch.stack([(part - mean).square().sum(dim=0) for part in parts()]).sum(dim=0)
    stack.standardise(mean.float(), (squares / len(samples)).sqrt().float())


def optimiser(network: NetworkModule, plan: Training) -> torch.optim.AdamW:
    """Return the optimiser of ``network``: decay is decoupled from the gradient (Loshchilov and Hutter 2019).

    Each group has its ``share`` of the learning rate.
    """
    named = dict(network.named_parameters())
    groups: list[dict[str, Any]] = []
    if (threshold := named.pop(THRESHOLD, None)) is not None:
        # The threshold learns slowly: all pixels of all images change this one value.
        groups.append({"params": [threshold], "share": 0.05})
    for stack in network.stacks:
        source = stack.stack.source
        decay = plan.dense_decay if source is None or source.decay is None else source.decay
        if decay and (first := stack.first_dense()) is not None:
            named = {name: value for name, value in named.items() if value is not first}
            groups.append({"params": [first], "share": 1.0, "weight_decay": decay})
    groups.insert(0, {"params": list(named.values()), "share": 1.0})
    return torch.optim.AdamW(groups, lr=plan.learning_rate, weight_decay=plan.weight_decay)
