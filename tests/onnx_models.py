"""Tiny ONNX files for tests: backbones, and files that are hostile in one way each."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper
from onnx.onnx_pb import GraphProto
from sqlalchemy import insert
from sqlalchemy.orm import Session

from producer.images.imageset import ImageSet
from schema.network.architecture import Architecture
from schema.network.layers import FrozenBackbone
from schema.tables import Backbone, BackboneFile

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


SIDE = 32  # of the pictures


def imported(session: Session, seed: int = 0) -> FrozenBackbone:
    """Insert a tiny backbone as the import does; return the layer that names it."""
    data = encoded(seed)
    sha256, scale = hashlib.sha256(data).hexdigest(), {"mean": [127.5] * 3, "std": [127.5] * 3}
    facts = {"nodes": 3, "parameters": 384, "operators": {"Conv": 1}, "seconds": 1e-4}
    values = {"name": f"tiny{seed}", "sha256": sha256, "size": SIDE, "scale": scale, "features": FEATURES}
    row = insert(Backbone).values(**values, facts=facts, created_at=datetime(2026, 1, 1, tzinfo=UTC))
    backbone = session.execute(row.returning(Backbone.id)).scalar_one()
    session.execute(insert(BackboneFile).values(backbone_id=backbone, data=data))
    return FrozenBackbone(sha256=sha256, size=SIDE, values=FEATURES, **scale)


def architecture(layer: FrozenBackbone, side: int = SIDE) -> Architecture:
    """Return a network of three classes on the features of the backbone ``layer``."""
    return Architecture.from_dict(
        {
            "name": "onfeatures",
            "input": {"height": side, "width": side, "channels": 3},
            "classes": 3,
            "features": [layer.to_dict(), {"kind": "dense", "units": 6, "activation": "tanh"}],
            "training": {"epochs": 3, "batch_size": 8, "learning_rate": 0.05},
        }
    )


def of_sources(*layers: FrozenBackbone, dropout: float = 0.2) -> Architecture:
    """Return a network of a source for each of the backbones ``layers``, and one that sees pixels."""
    dense = {"kind": "dense", "units": 6, "activation": "tanh"}
    pixels = [{"kind": "max_pool", "size": 8}, dense]
    blocks = {f"backbone{k}": [layer.to_dict(), dense] for k, layer in enumerate(layers)} | {"pixels": pixels}
    values = architecture(layers[0]).to_dict() | {"name": "sources", "features": []}
    sources = [{"name": name, "dropout": dropout, "features": block} for name, block in blocks.items()]
    return Architecture.from_dict({**values, "source": sources})


def pictures(count: int = 30, *, seed: int = 0, side: int = SIDE) -> ImageSet:
    """Return noisy pictures whose class is their colour."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 3
    images = rng.integers(0, 90, (count, side, side, 3))
    images[np.arange(count), :, :, labels] += 140
    return ImageSet("colours", images.astype(np.uint8), labels.astype(np.int64), None, None)
