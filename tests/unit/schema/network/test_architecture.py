"""Architectures: round trips, sizes by hand, and mistakes that name the layer."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schema.errors import NetworkError
from schema.network.architecture import PRESETS, Architecture, load, preset

if TYPE_CHECKING:
    from pathlib import Path


def described(**changes: Any) -> dict[str, Any]:
    return {"name": "small", "input": {"height": 8, "width": 8}, "classes": 3, **changes}


features = st.lists(
    st.one_of(
        st.builds(
            lambda f, k, s, p: {"kind": "conv", "filters": f, "kernel": k, "stride": s, "padding": p},
            *(st.integers(1, 8), st.integers(1, 3), st.integers(1, 2), st.integers(0, 1)),
        ),
        st.just({"kind": "max_pool", "size": 2}),
    ),
    max_size=2,
)
architectures = st.builds(
    lambda side, classes, alpha, front, hidden, noise: described(
        input={"height": side, "width": side, "image_max": 16},
        classes=classes,
        alpha=alpha,
        features=[*front, {"kind": "dense", "units": 12, "activation": "tanh"}],
        energy=[{"kind": "dense", "units": hidden}],
        training={"noise": noise},
    ),
    side=st.integers(8, 20),
    classes=st.integers(2, 20),
    alpha=st.floats(1e-6, 100.0),
    front=features,
    hidden=st.integers(1, 30),
    noise=st.floats(0.0, 1.0),
)


@given(given_=architectures)
def test_json_round_trip_is_exact(given_: dict[str, Any]) -> None:
    architecture = Architecture.from_dict(given_)
    plain = architecture.to_dict()
    again = Architecture.from_dict(json.loads(json.dumps(plain)))
    assert again == architecture
    assert again.to_dict() == plain


@pytest.mark.parametrize(
    ("name", "sizes"),
    [
        ("digits", (40, 10)),
        ("mnist", (40, 10)),
        ("digits5x5", (20, 5, 5)),
        ("conv358", (196, 128, 24, 10)),
    ],
)
def test_presets_have_the_units_of_the_paper(name: str, sizes: tuple[int, ...]) -> None:
    assert preset(name).sizes == sizes


def test_all_presets_are_listed() -> None:
    assert {preset(name).name for name in PRESETS} == set(PRESETS)
    with pytest.raises(NetworkError, match="no preset 'vgg'; there are digits"):
        preset("vgg")


def test_couplers_and_density_by_hand() -> None:
    conv358 = preset("conv358")
    # 128 hidden units see 25 pixels each, 24 see 128, 10 classes see 24, and 45 pairs of classes.
    assert conv358.couplers == (128 * 25, 128 * 24, 24 * 10, 45)
    assert conv358.density == pytest.approx(6557 / math.comb(358, 2))
    assert preset("digits5x5").couplers == (20, 25, 10)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"classes": 0}, r"classes must be a whole number from 2 to 256, not 0"),
        ({"classes": True}, r"classes must be a whole number from 2 to 256, not True"),
        ({"alpha": float("nan")}, r"alpha must be above 0"),
        ({"alpha": float("inf")}, r"alpha must be above 0"),
        ({"alpha": 10**400}, r"alpha must be above 0"),
        ({"colour": 1}, r"architecture: unknown key 'colour'; known keys are alpha"),
        ({"input": {"height": 8}}, r"input: width is missing"),
        ({"input": {"height": 0, "width": 8}}, r"input: height must be a whole number from 1 to 512, not 0"),
        (
            {"input": {"height": 9, "width": 8, "average": 2}},
            r"9 x 8 pixels do not divide into blocks of 2 x 2",
        ),
        (
            {"energy": [{"kind": "conv", "filters": 2, "kernel": 9}]},
            r"energy\[0\] \(conv\): a 9 x 9 window .* 8 x 8",
        ),
        ({"energy": [{"kind": "conv", "filters": 2}]}, r"energy\[0\] \(conv\): kernel is missing"),
        ({"energy": [{"kind": "lstm"}]}, r"energy\[0\]: kind must be one of conv, pool, dense, not 'lstm'"),
        (
            {"energy": [{"kind": "pool", "size": 3}]},
            r"energy\[0\] \(pool\): 8 x 8 units do not divide into 3 x 3",
        ),
        (
            {"energy": [{"kind": "dense", "units": 9}, {"kind": "pool", "size": 2}]},
            r"energy\[1\] \(pool\) needs rows and columns, but the layer before has 9 units",
        ),
        (
            {"features": [{"kind": "dense", "units": 9, "activation": "relu"}]},
            r"features\[0\] \(dense\): the last activation is relu",
        ),
        ({"features": [{"kind": "max_pool", "size": 2}]}, r"the feature layers only pool"),
        ({"features": "conv"}, r"features must be a list of layers, not str"),
        ({"features": [{"kind": ["conv"]}]}, r"features\[0\]: kind must be one of"),
        (
            {"input": {"height": 512, "width": 512}},
            r"Q would have 262144 \+ 3 = 262147 units; at most 5000 are allowed",
        ),
        ({"training": {"epochs": 1.5}}, r"training: epochs must be a whole number"),
        ({"training": {"noise": float("nan")}}, r"training: noise must be a number from 0 to 1, not nan"),
        ({"training": {"flips": 1}}, r"training: flips must be true or false, not 1"),
    ],
)
def test_mistakes_name_the_layer_and_the_sizes(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(NetworkError, match=message):
        Architecture.from_dict(described(**changes))


def test_files_are_read_and_refused_by_name(tmp_path: Path) -> None:
    good = tmp_path / "net.json"
    good.write_text(json.dumps(preset("digits").to_dict()), encoding="utf-8")
    assert load(good) == preset("digits")
    bad = tmp_path / "net.toml"
    bad.write_text("classes = [", encoding="utf-8")
    with pytest.raises(NetworkError, match=r"net\.toml: not valid TOML"):
        load(bad)
    with pytest.raises(NetworkError, match="cannot be read"):
        load(tmp_path / "absent.toml")
    with pytest.raises(NetworkError, match=r"a \.toml or \.json file"):
        load(tmp_path / "net.yaml")
