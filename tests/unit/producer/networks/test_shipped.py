"""Shipped networks match the presets of their names, and are small."""

from __future__ import annotations

import pytest

from producer.networks import shipped
from schema.network.architecture import PRESETS, preset

MOST_BYTES = 2_000_000  # of all together


@pytest.mark.parametrize("name", PRESETS)
def test_a_shipped_network_is_its_preset(name: str) -> None:
    if name not in shipped.names():
        pytest.skip(f"{name} is not shipped yet")
    described = shipped.load(name).description
    layers, now = described.architecture, preset(name)
    assert layers.name == name
    assert (layers.input, layers.features, layers.energy) == (now.input, now.features, now.energy)
    assert (layers.classes, layers.alpha, layers.training.lam) == (now.classes, now.alpha, now.training.lam)
    assert described.metrics is not None
    assert described.metrics["command"].startswith("annealq networks train ")


def test_all_together_are_small() -> None:
    files = [file for file in shipped.FOLDER.iterdir() if file.name.endswith((".safetensors", ".json"))]
    assert sum(len(file.read_bytes()) for file in files) <= MOST_BYTES


def test_defaults_have_a_size_each() -> None:
    sizes = [preset(name).input.image_shape.size for name in shipped.DEFAULTS]
    assert sizes == [(28, 28), (8, 8), (5, 5)]


@pytest.mark.parametrize("name", shipped.names())
def test_networks_for_grey_images_have_the_digests_of_earlier_versions(name: str) -> None:
    """What is digested has no keys that came later: else stored networks would be trained anew."""
    layers = shipped.load(name).description.architecture
    assert list(layers.to_dict()["input"]) == ["height", "width", "image_max", "average"]
