"""The classical baseline: classes of a network without an annealer, and the time of its forward passes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from schema.network.architecture import preset
from worker.network import inference
from worker.network.layers import NetworkModule
from worker.network.trained import TrainedNetwork
from worker.tools.baseline import measure


@pytest.mark.parametrize("transfer", ["paper", "energy"])
def test_a_network_is_measured_by_itself(transfer: str) -> None:
    torch.manual_seed(0)
    architecture = preset("digits")
    weights = {name: value.numpy() for name, value in NetworkModule(architecture).folded().items()}
    network = TrainedNetwork(architecture, weights, transfer)
    images = np.random.default_rng(0).integers(0, 17, (130, 8, 8), dtype=np.uint8)
    own = inference.classify(architecture, weights, images, transfer)
    labels = own.astype(np.int16)
    labels[:30] = (labels[:30] + 1) % 10
    measured = measure(network, images, labels)
    assert (measured.images, measured.right) == (130, 100)
    assert measured.forward_us > 0
    assert measured.in_batch_us > 0
    assert measure(network, images, None).right is None
