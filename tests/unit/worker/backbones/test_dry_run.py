"""What a file must do with a few pictures."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import ModelProto, helper
from PIL import Image

from schema.errors import BackboneError
from schema.network.backbones import SCALES, PixelScale
from tests.onnx_models import FEATURES, constant, encoded, model
from worker.backbones.dry_run import try_out
from worker.backbones.pixels import to_values
from worker.backbones.session import BackboneSession

_SCALE = SCALES["signed"]


def _ending(*nodes: helper.NodeProto, tensors: tuple[object, ...] = (), out: object = 3) -> ModelProto:
    """Return a model of the mean colour, followed by ``nodes`` from ``mean`` to ``features``."""
    mean = helper.make_node("ReduceMean", ["pixels"], ["mean"], axes=[2, 3], keepdims=0)
    return model([mean, *nodes], tensors, out=("b", out))  # type: ignore[arg-type]


def not_finite() -> ModelProto:
    return _ending(helper.make_node("Sqrt", ["mean"], ["features"]))


def beyond_float16() -> ModelProto:
    factor = constant("factor", [1e6])
    return _ending(helper.make_node("Mul", ["mean", "factor"], ["features"]), tensors=(factor,))


def mixing_pictures() -> ModelProto:
    return _ending(helper.make_node("Softmax", ["mean"], ["features"], axis=0))


def always_equal() -> ModelProto:
    zero = constant("zero", [0.0])
    return _ending(helper.make_node("Mul", ["mean", "zero"], ["features"]), tensors=(zero,))


def no_values() -> ModelProto:
    ends = (constant("from", [0], np.int64), constant("to", [0], np.int64), constant("axes", [1], np.int64))
    node = helper.make_node("Slice", ["mean", "from", "to", "axes"], ["features"])
    return _ending(node, tensors=ends, out="d")


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (not_finite, "not finite"),
        (beyond_float16, "stored as float16"),
        (mixing_pictures, "depend on the pictures beside it"),
        (always_equal, "are equal"),
        (no_values, "has 0 values"),
    ],
)
def test_a_file_that_gives_no_features_is_refused(make: object, says: str) -> None:
    with pytest.raises(BackboneError, match=says):
        try_out(make().SerializeToString(), 32, _SCALE)  # type: ignore[operator]


def test_a_file_that_cannot_run_is_refused() -> None:
    wrong = constant("weights", np.zeros((3, 5)))
    node = helper.make_node("MatMul", ["mean", "weights"], ["maps"])
    twice = helper.make_node("MatMul", ["maps", "weights"], ["features"])
    with pytest.raises(BackboneError, match=r"onnxruntime cannot use|fails on pictures"):
        try_out(_ending(node, twice, tensors=(wrong,), out=5).SerializeToString(), 32, _SCALE)


def test_a_backbone_passes() -> None:
    tried = try_out(encoded(), 32, _SCALE)
    assert tried.values == FEATURES
    assert tried.seconds > 0.0


def test_features_are_the_same_in_groups_of_any_size() -> None:
    session = BackboneSession(encoded())
    images = np.random.default_rng(1).integers(0, 256, (9, 32, 32, 3), dtype=np.uint8)
    values = to_values(images, 32, _SCALE)
    together = session.run(values)
    apart = np.concatenate([session.run(values[k : k + 2]) for k in range(0, 9, 2)])
    np.testing.assert_array_equal(together, apart)


def test_pixels_are_scaled_by_channel_and_put_first() -> None:
    images = np.zeros((1, 2, 2, 3), np.uint8)
    images[0, 1, 0] = (10, 20, 30)
    values = to_values(images, 2, PixelScale((0.0, 10.0, 20.0), (1.0, 2.0, 4.0)))
    assert values[0, :, 1, 0].tolist() == [10.0, 5.0, 2.5]
    assert values[0, :, 0, 0].tolist() == [0.0, -5.0, -5.0]


def test_another_size_is_reached_as_pillow_does() -> None:
    images = np.random.default_rng(2).integers(0, 256, (2, 50, 70, 3), dtype=np.uint8)
    values = to_values(images, 32, SCALES["unit"])
    wanted = Image.fromarray(images[1]).resize((32, 32), Image.Resampling.BICUBIC)
    np.testing.assert_allclose(values[1].transpose(1, 2, 0) * 255.0, np.asarray(wanted), atol=1e-3)


@pytest.mark.parametrize("text", ["", "1", "1,2,3", "a,b", "nan,1", "0,0", "1,inf", "2000,1"])
def test_an_impossible_scale_is_refused(text: str) -> None:
    with pytest.raises(BackboneError, match="scale"):
        PixelScale.parse(text)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("imagenet", "imagenet"), ("127,128", "(p - 127) / 128"), ("0,255", "unit"),
        ("1,2,3,4,5,6", "(p - (1, 2, 3)) / (4, 5, 6)"),
    ],
)  # fmt: skip
def test_scales_are_read_and_shown(text: str, shown: str) -> None:
    assert str(PixelScale.parse(text)) == shown
