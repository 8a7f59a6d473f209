"""Tiny ONNX files for tests: backbones, and files that are hostile in one way each."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper
from onnx.onnx_pb import GraphProto

FEATURES = 8
OPSET = 17


def constant(name: str, values: object, dtype: type = np.float32) -> TensorProto:
    return numpy_helper.from_array(np.asarray(values, dtype), name)


def model(
    nodes: Sequence[NodeProto],
    tensors: Sequence[TensorProto] = (),
    *,
    sides: Sequence[object] = ("b", 3, "h", "w"),
    out: Sequence[object] = ("b", FEATURES),
    opset: int = OPSET,
) -> ModelProto:
    """Return a model of ``nodes`` from ``pixels`` to ``features``."""
    pixels = helper.make_tensor_value_info("pixels", TensorProto.FLOAT, sides)
    features = helper.make_tensor_value_info("features", TensorProto.FLOAT, out)
    graph: GraphProto = helper.make_graph(nodes, "tiny", [pixels], [features], initializer=tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def convolution(seed: int = 0, features: int = FEATURES) -> tuple[list[NodeProto], list[TensorProto]]:
    """Return nodes and tensors of one convolution and a mean over height and width."""
    weights = np.random.default_rng(seed).normal(0.0, 0.3, (features, 3, 4, 4))
    nodes = [
        helper.make_node("Conv", ["pixels", "weights"], ["maps"], kernel_shape=[4, 4], strides=[4, 4]),
        helper.make_node("Relu", ["maps"], ["positive"]),
        helper.make_node("ReduceMean", ["positive"], ["features"], axes=[2, 3], keepdims=0),
    ]
    return nodes, [constant("weights", weights)]


def tiny(seed: int = 0, features: int = FEATURES) -> ModelProto:
    """Return a backbone: one convolution of random weights, a mean."""
    nodes, tensors = convolution(seed, features)
    return model(nodes, tensors, out=("b", features))


def encoded(seed: int = 0, features: int = FEATURES) -> bytes:
    data: bytes = tiny(seed, features).SerializeToString()
    return data
