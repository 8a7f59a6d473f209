"""The layer that names a backbone: where it may stand, what it says, and the layers after it."""

from __future__ import annotations

from typing import Any

import pytest

from schema.errors import NetworkError
from schema.network.architecture import Architecture
from schema.network.recipes import Recipe

LAYER = {
    "kind": "backbone", "sha256": "a" * 64, "size": 64, "values": 5, "mean": [127.0, 126.0, 125.0],
    "std": [128.0, 128.0, 128.0],
}  # fmt: skip
DENSE = {"kind": "dense", "units": 4, "activation": "tanh"}


def plain(**changes: Any) -> dict[str, Any]:
    values: dict[str, Any] = {
        "name": "on features",
        "input": {"height": 48, "width": 32, "channels": 3},
        "classes": 3,
        "features": [LAYER, DENSE],
    }
    return values | changes


def test_the_layers_after_it_are_a_network_on_vectors() -> None:
    network = Architecture.from_dict(plain())
    assert [each["shape"] for each in network.summary()["features"]] == [[5], [4]]
    assert network.joined_values == 5
    assert network.sizes == (4, 3)
    assert network.shapes["features.0.weight"] == (4, 5)
    assert Architecture.from_dict(network.to_dict()) == network


def test_a_recipe_has_all_that_decides_about_vectors() -> None:
    (layer,) = Architecture.from_dict(plain()).backbones
    recipe = Recipe.of(layer)
    assert Recipe.from_dict(recipe.to_dict()) == recipe
    others = [
        layer.replace(sha256="b" * 64), layer.replace(size=96), layer.replace(values=6),
        layer.replace(mean=[1.0, 2.0, 3.0]), layer.replace(std=[1.0, 2.0, 3.0]),
    ]  # fmt: skip
    assert len({recipe.digest, *(Recipe.of(other).digest for other in others)}) == 6


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"features": [DENSE, LAYER, DENSE]}, r"features\[1\] \(backbone\): .* first layer"),
        ({"features": [LAYER, LAYER, DENSE]}, r"features\[1\] \(backbone\): .* first layer"),
        ({"features": [LAYER]}, "dense"),
        ({"input": {"height": 48, "width": 32}}, r"write channels = 3 in \[input\]"),
        ({"input": {"height": 48, "width": 32, "channels": 3, "average": 2}}, "leave out average"),
        ({"input": {"height": 48, "width": 32, "channels": 3, "image_max": 16}}, "leave out image_max"),
        ({"input": {"kind": "vector", "values": 5}}, "coloured pictures"),
        ({"training": {"shift": 2}}, "shift and flips move pixels"),
        ({"features": [LAYER, {"kind": "conv", "filters": 2, "kernel": 3}, DENSE]}, "needs rows and columns"),
        ({"features": [{**LAYER, "size": 100}, DENSE]}, "size must be one of 32, 64, 96"),
        ({"features": [{**LAYER, "sha256": "A" * 64}, DENSE]}, "sha256 must be the SHA-256"),
        ({"features": [{**LAYER, "values": 65_537}, DENSE]}, "from 1 to 65536"),
        ({"features": [{**LAYER, "mean": [1.0, 2.0]}, DENSE]}, r"features\[0\] \(backbone\): mean"),
        ({"features": [{**LAYER, "std": [1.0, 2.0, 0.0]}, DENSE]}, r"features\[0\] \(backbone\): std"),
        ({"features": [{**LAYER, "scale": "imagenet"}, DENSE]}, "unknown key 'scale'"),
    ],
)
def test_what_it_may_not_say(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(NetworkError, match=says):
        Architecture.from_dict(plain(**changes))


CONV = {"kind": "conv", "filters": 2, "kernel": 5, "stride": 3, "activation": "tanh"}


def of_sources(*sources: list[dict[str, Any]], **changes: Any) -> dict[str, Any]:
    values = plain(**changes)
    del values["features"]
    return {**values, "source": [{"name": f"s{k}", "features": each} for k, each in enumerate(sources)]}


def test_each_source_may_begin_with_a_backbone_of_its_own_or_the_same() -> None:
    other = {**LAYER, "size": 96, "values": 7}
    network = Architecture.from_dict(of_sources([LAYER, DENSE], [other, DENSE], [CONV], [LAYER, DENSE]))
    assert [(layer.size, layer.values) for layer in network.backbones] == [(64, 5), (96, 7)]
    assert network.joined_values == 5 + 7 + 48 * 32 * 3
    assert network.places == (slice(0, 5), slice(5, 12), slice(12, None), slice(0, 5))
    assert network.shapes["sources.s1.0.weight"] == (4, 7)
    assert [each["kind"] for each in network.summary()["features"]] == [
        "backbone", "dense", "backbone", "dense", "conv", "backbone", "dense",
    ]  # fmt: skip
    assert Architecture.from_dict(network.to_dict()) == network


def test_images_are_in_a_row_only_if_a_layer_that_is_trained_sees_them() -> None:
    assert Architecture.from_dict(of_sources([LAYER, DENSE], [LAYER, DENSE])).joined_values == 5
    without = Architecture.from_dict(of_sources([CONV], [{"kind": "histogram", "bins": 2}, DENSE]))
    assert without.joined_values is None
    assert without.places == (None, None)


@pytest.mark.parametrize(
    ("values", "says"),
    [
        (
            of_sources([LAYER, DENSE], [DENSE, LAYER, DENSE]),
            r"'s1': features\[1\] \(backbone\): .* first",
        ),
        (of_sources([LAYER, DENSE], [LAYER]), "source 's1': vectors have values of any size"),
        (
            of_sources([LAYER, DENSE], [CONV], input={"height": 48, "width": 32}),
            r"source 's0': features\[0\] \(backbone\): .* write channels = 3",
        ),
        (
            of_sources([LAYER, {"kind": "conv", "filters": 2, "kernel": 3}, DENSE], [CONV]),
            r"source 's0': features\[1\] \(conv\) needs rows and columns",
        ),
        (
            of_sources([LAYER, {"kind": "histogram", "bins": 2}, DENSE], [CONV]),
            "source 's0': features: a histogram counts the colours of an image: put it first",
        ),
        (of_sources([LAYER, DENSE], [CONV], training={"shift": 1}), "shift and flips move pixels"),
        (
            of_sources([LAYER, DENSE], [LAYER, DENSE], input={**plain()["input"], "average": 2}),
            "leave out average",
        ),
    ],
)
def test_what_a_backbone_of_a_source_may_not_say(values: dict[str, Any], says: str) -> None:
    with pytest.raises(NetworkError, match=says):
        Architecture.from_dict(values)


def test_pixels_beside_a_backbone_may_be_averaged() -> None:
    averaged = {**plain()["input"], "average": 2}
    network = Architecture.from_dict(of_sources([LAYER, DENSE], [CONV], input=averaged))
    assert network.stacks[1].takes == (3, 24, 16)
    assert network.joined_values == 5 + 48 * 32 * 3
