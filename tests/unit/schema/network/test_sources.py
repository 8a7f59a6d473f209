"""Networks of several sources: their units and weights, and mistakes that name the source and the limit."""

from __future__ import annotations

from typing import Any

import pytest

from schema.errors import NetworkError
from schema.network.architecture import MAX_UNITS, PRESETS, Architecture, preset

Layers = list[dict[str, Any]]


def dense(units: int, activation: str = "tanh") -> Layers:
    return [{"kind": "dense", "units": units, "activation": activation}]


def source(name: str, features: Layers | None = None, **options: Any) -> dict[str, Any]:
    return {"name": name, "features": dense(4) if features is None else features, **options}


def of_vectors(*sources: dict[str, Any], **changes: Any) -> dict[str, Any]:
    given = {"name": "v", "input": {"kind": "vector", "values": 10}, "classes": 3, **changes}
    return {**given, "source": list(sources)}


def of_images(*sources: dict[str, Any], **changes: Any) -> dict[str, Any]:
    size = {"height": 8, "width": 8, "channels": 3}
    return of_vectors(*sources, **{"input": size, **changes})


def test_visible_units_of_sources_stand_side_by_side() -> None:
    conv = [{"kind": "conv", "filters": 2, "kernel": 3, "activation": "tanh"}]
    colours = [{"kind": "histogram", "bins": 4}, *dense(5)]
    layers = Architecture.from_dict(of_images(source("shape", conv), source("colour", colours)))
    assert layers.sizes == (2 * 6 * 6 + 5, 3)
    assert layers.blocks == {"shape": slice(0, 72), "colour": slice(72, 77)}
    assert layers.shapes == {
        "sources.shape.0.weight": (2, 3, 3, 3),
        "sources.shape.0.bias": (2,),
        "sources.colour.1.weight": (5, 64),
        "sources.colour.1.bias": (5,),
        "classes.weight": (3, 77),
    }
    assert [layer["source"] for layer in layers.summary()["features"]] == ["shape", "colour", "colour"]


def test_columns_are_counted_from_0_and_both_are_included() -> None:
    parts = (source("a", columns=[0, 6], decay=2), source("b", columns=[7, 9], dropout=0.2))
    layers = Architecture.from_dict(of_vectors(*parts))
    assert layers.shapes["sources.a.0.weight"] == (4, 7)
    assert layers.shapes["sources.b.0.weight"] == (4, 3)
    assert Architecture.from_dict(layers.to_dict()) == layers


@pytest.mark.parametrize("name", PRESETS)
def test_networks_without_sources_are_written_as_before(name: str) -> None:
    layers = preset(name)
    assert "source" not in layers.to_dict()
    assert not layers.blocks
    assert all("source" not in layer for layer in layers.summary()["features"])


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        (of_vectors(source("a")), r"1 sources; 2 to 8 are allowed: write the layers of the only one as \[\["),
        (of_vectors(*(source(f"s{k}") for k in range(9))), "9 sources; 2 to 8 are allowed"),
        (of_vectors(source("a"), source("a")), "two sources are called 'a': give each a name of its own"),
        (of_vectors(source("A"), source("b")), r"source\[0\]: name must be 1 to 32 of a-z, .* not 'A'"),
        (of_vectors(source("a.b"), source("b")), r"source\[0\]: name must be 1 to 32 of a-z"),
        (of_vectors(source("a"), source("b"), features=dense(4)), "there are features and sources"),
        (of_vectors(source("a", []), source("b")), "source 'a': vectors have values of any size.* dense one"),
        (
            of_vectors(source("a", columns=[0, 10]), source("b")),
            r"source 'a': columns must be \[first, last\].* 10 values of a vector, 0 to 9, not \[0, 10\]",
        ),
        (of_vectors(source("a", columns=[4, 2]), source("b")), r"columns must be .* not \[4, 2\]"),
        (of_vectors(source("a", columns=[1]), source("b")), r"columns must be \[first, last\]"),
        (of_images(source("a", columns=[0, 1]), source("b")), "columns are those of a vector: leave them"),
        (of_images(source("a", []), source("b")), "source 'a': no layer is trained: add a conv or dense"),
        (
            of_images(source("a", [{"kind": "histogram", "bins": 4}]), source("b")),
            "source 'a': nothing has learnt of a histogram's shares of pixels: add a dense layer",
        ),
        (
            of_images(source("a", [{"kind": "histogram", "bins": 17}, *dense(4)]), source("b")),
            r"source 'a': features\[0\] \(histogram\): 17 bins for each of 3 colours are 4913, at most 4096 "
            "are allowed: use 16 or fewer",
        ),
        (
            of_images(source("a", [*dense(4), {"kind": "histogram", "bins": 4}, *dense(4)]), source("b")),
            "a histogram counts the colours of an image: put it first",
        ),
        (
            of_vectors(source("a"), source("b", dense(4, "sigmoid"))),
            r"the last activations of the sources differ \(a tanh, b sigmoid\): use the same one",
        ),
        (
            of_vectors(source("a"), source("b", dense(4, "relu"))),
            r"source 'b': features\[0\] \(dense\): the last activation is relu",
        ),
        (
            of_vectors(source("a"), source("b", decay=500), training={"learning_rate": 0.01}),
            "source 'b': decay 500 at learning_rate 0.01 turns weights around; use less than 100",
        ),
        (of_vectors(source("a", dropout=0.95), source("b")), r"dropout must be a number from 0 to 0.9"),
        (of_vectors(source("a", decay=-1), source("b")), r"decay must be a number from 0 to 1000, not -1"),
        (
            of_vectors(source("a", [{"kind": "dense", "units": 0}]), source("b")),
            r"source\[0\]: features\[0\] \(dense\): units must be a whole number from 1",
        ),
        (
            of_vectors(source("a", dense(4_000)), source("b", dense(2_000))),
            rf"6003 units \(visible: a 4000, b 2000\); at most {MAX_UNITS}",
        ),
        (
            of_vectors(source("a"), source("b"), energy=[{"kind": "pool", "size": 2}]),
            r"energy\[0\] \(pool\) needs rows and columns, but the layer before has 8 units in a row",
        ),
    ],
)
def test_refusals_name_the_source_and_the_way_out(given: dict[str, Any], problem: str) -> None:
    with pytest.raises(NetworkError, match=problem):
        Architecture.from_dict(given)
