"""What a file may hold that is to become a backbone: everything else is refused before it runs."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from onnx import AttributeProto, ModelProto, TensorProto, helper

from schema.errors import BackboneError
from tests.onnx_models import FEATURES, constant, convolution, encoded, model, tiny
from worker.backbones import model_check
from worker.backbones.model_check import MAX_NODES, check_model, check_sizes


def _subgraph() -> helper.GraphProto:
    out = helper.make_tensor_value_info("inner", TensorProto.FLOAT, [])
    node = helper.make_node("Constant", [], ["inner"], value=constant("value", 1.0))
    return helper.make_graph([node], "inner graph", [], [out])


def _with(node: helper.NodeProto, *tensors: TensorProto) -> ModelProto:
    """Return a backbone with one further ``node``, whose output nothing uses."""
    nodes, own = convolution()
    return model([*nodes, node], [*own, *tensors])


def _external() -> TensorProto:
    tensor = constant("secret", np.zeros(4))
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../etc/passwd")
    return tensor


def _sparse() -> helper.SparseTensorProto:
    return helper.make_sparse_tensor(_external(), constant("where", [0, 1, 2, 3], np.int64), [9])


def external_initialiser() -> ModelProto:
    return _with(helper.make_node("Relu", ["secret"], ["leaked"]), _external())


def external_constant() -> ModelProto:
    return _with(helper.make_node("Constant", [], ["leaked"], value=_external()))


def external_in_a_nested_graph() -> ModelProto:
    graph = _subgraph()
    graph.initializer.append(_external())
    condition = constant("condition", True, np.bool_)
    return _with(
        helper.make_node("If", ["condition"], ["leaked"], then_branch=graph, else_branch=_subgraph()),
        condition,
    )


def sparse_initialiser() -> ModelProto:
    hostile = tiny()
    hostile.graph.sparse_initializer.append(_sparse())
    return hostile


def sparse_constant() -> ModelProto:
    return _with(helper.make_node("Constant", [], ["leaked"], sparse_value=_sparse()))


def graph_in_an_allowed_operator() -> ModelProto:
    node = helper.make_node("Relu", ["pixels"], ["leaked"])
    node.attribute.append(helper.make_attribute("body", _subgraph()))
    return _with(node)


def graph_under_another_type() -> ModelProto:
    node = helper.make_node("Relu", ["pixels"], ["leaked"])
    attribute = helper.make_attribute("body", _subgraph())
    attribute.type = AttributeProto.INT
    node.attribute.append(attribute)
    return _with(node)


def loop() -> ModelProto:
    times = constant("times", 2**62, np.int64)
    return _with(helper.make_node("Loop", ["times", ""], ["leaked"], body=_subgraph()), times)


def constant_of_shape_bomb() -> ModelProto:
    shape = constant("shape", [100_000, 1_000_000], np.int64)
    return _with(helper.make_node("ConstantOfShape", ["shape"], ["leaked"]), shape)


def expand_bomb() -> ModelProto:
    shape = constant("shape", [10**6, 3, 10**3, 10**3], np.int64)
    return _with(helper.make_node("Expand", ["pixels", "shape"], ["leaked"]), shape)


def foreign_domain() -> ModelProto:
    hostile = tiny()
    hostile.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    return hostile


def foreign_operator() -> ModelProto:
    return _with(helper.make_node("Relu", ["pixels"], ["leaked"], domain="com.microsoft"))


def function() -> ModelProto:
    hostile = tiny()
    inner = helper.make_node("Relu", ["x"], ["y"])
    hostile.functions.append(
        helper.make_function("", "Relu", ["x"], ["y"], [inner], [helper.make_opsetid("", 17)])
    )
    return hostile


def too_many_nodes() -> ModelProto:
    nodes, tensors = convolution()
    names = ["pixels", *(f"copy{k}" for k in range(MAX_NODES))]
    copies = [helper.make_node("Identity", [a], [b]) for a, b in pairwise(names)]
    return model([*copies, *nodes], tensors)


def shape_from_pixels() -> ModelProto:
    cast = helper.make_node("Cast", ["pixels"], ["numbers"], to=TensorProto.INT64)
    hostile = _with(helper.make_node("Reshape", ["pixels", "numbers"], ["leaked"]))
    hostile.graph.node.insert(0, cast)
    return hostile


def tensor_without_its_values() -> ModelProto:
    tensor = constant("empty", [])
    tensor.dims[:] = [1_000_000, 1_000_000]
    return _with(helper.make_node("Relu", ["empty"], ["leaked"]), tensor)


def negative_shape() -> ModelProto:
    tensor = constant("empty", [])
    tensor.dims[:] = [-1, 0]
    return _with(helper.make_node("Relu", ["empty"], ["leaked"]), tensor)


def tensor_of_texts() -> ModelProto:
    texts = helper.make_tensor("texts", TensorProto.STRING, [1], [b"x"])
    return _with(helper.make_node("Identity", ["texts"], ["leaked"]), texts)


def grey_input() -> ModelProto:
    nodes, tensors = convolution()
    return model(nodes, tensors, sides=("b", 1, "h", "w"))


def vectors_as_input() -> ModelProto:
    return model([helper.make_node("Relu", ["pixels"], ["features"])], sides=("b", 3))


def oblong_input() -> ModelProto:
    nodes, tensors = convolution()
    return model(nodes, tensors, sides=("b", 3, 224, 128))


def one_picture_at_once() -> ModelProto:
    nodes, tensors = convolution()
    return model(nodes, tensors, sides=(1, 3, 64, 64), out=(1, FEATURES))


def two_inputs() -> ModelProto:
    hostile = tiny()
    hostile.graph.input.append(helper.make_tensor_value_info("more", TensorProto.FLOAT, ["b"]))
    return hostile


def two_outputs() -> ModelProto:
    hostile = tiny()
    hostile.graph.output.append(helper.make_tensor_value_info("maps", TensorProto.FLOAT, None))
    return hostile


def maps_as_output() -> ModelProto:
    return model([helper.make_node("Relu", ["pixels"], ["features"])], out=("b", 3, "h", "w"))


def old_opset() -> ModelProto:
    nodes, tensors = convolution()
    return model(nodes, tensors, opset=6)


_HOSTILE = {
    external_initialiser: "keeps its values in another file",
    external_constant: "keeps its values in another file",
    external_in_a_nested_graph: "holds a graph",
    sparse_initialiser: "sparse tensors",
    sparse_constant: "sparse tensor",
    graph_in_an_allowed_operator: "holds a graph",
    graph_under_another_type: "holds a graph",
    loop: "holds a graph",
    constant_of_shape_bomb: "'ConstantOfShape'",
    expand_bomb: "'Expand'",
    foreign_domain: "'com.microsoft'",
    foreign_operator: r"'com.microsoft\.Relu'",
    function: "functions of its own",
    too_many_nodes: "nodes; at most 3,000 are allowed",
    shape_from_pixels: "follows from the pixels",
    tensor_without_its_values: "declares 1,000,000,000,000 values and holds 0",
    negative_shape: r"has shape \[-1, 0\]",
    tensor_of_texts: "has values of type STRING",
    grey_input: r"input has shape \(\?, 1, \?, \?\)",
    vectors_as_input: r"'pixels' must be float32 \(b, 3, H, W\)",
    oblong_input: r"\(\?, 3, 224, 128\)",
    one_picture_at_once: "not any number",
    two_inputs: "has 2 inputs and 1 outputs",
    two_outputs: "has 1 inputs and 2 outputs",
    maps_as_output: r"'features' must be float32 \(b, D\)",
    old_opset: "uses opset 6",
}


@pytest.mark.parametrize(("make", "says"), _HOSTILE.items(), ids=[each.__name__ for each in _HOSTILE])
def test_a_hostile_or_unfit_file_is_refused_by_its_graph(make: object, says: str) -> None:
    data = make().SerializeToString()  # type: ignore[operator]
    with pytest.raises(BackboneError, match=says):
        check_model(data)


@pytest.mark.parametrize("part", [0.1, 0.5, 0.999])
def test_a_part_of_a_file_is_refused(part: float) -> None:
    data = encoded()
    with pytest.raises(BackboneError):
        check_model(data[: int(part * len(data))])


def test_a_large_file_is_refused_unparsed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_check, "MAX_FILE_BYTES", 100)
    with pytest.raises(BackboneError, match="at most 100 are read"):
        check_model(encoded())


def _field(number: int, content: bytes) -> bytes:
    """Return a field of a protobuf message: its number, its length, its bytes."""
    length, varint = len(content), bytearray()
    while length > 127:
        varint.append(length & 127 | 128)
        length >>= 7
    return bytes([number << 3 | 2, *varint, length]) + content


def test_a_graph_nested_beyond_what_protobuf_reads_is_refused() -> None:
    graph = b""
    for _ in range(300):  # a node (1) of the graph has an attribute (5) with a graph (6)
        graph = _field(1, _field(5, _field(6, graph)))
    with pytest.raises(BackboneError, match="not an ONNX file"):
        check_model(_field(7, graph))


def test_a_backbone_is_described() -> None:
    facts = check_model(encoded())
    assert (facts.input, facts.output, facts.size, facts.values) == ("pixels", "features", None, FEATURES)
    assert facts.operators == {"Conv": 1, "ReduceMean": 1, "Relu": 1}
    assert (facts.nodes, facts.parameters) == (3, FEATURES * 3 * 4 * 4)


def test_a_shape_that_follows_from_the_input_is_allowed() -> None:
    nodes = [
        helper.make_node("GlobalAveragePool", ["pixels"], ["maps"]),
        helper.make_node("Shape", ["maps"], ["shape"]),
        helper.make_node("Gather", ["shape", "zero"], ["count"], axis=0),
        helper.make_node("Concat", ["count", "minus"], ["flat"], axis=0),
        helper.make_node("Reshape", ["maps", "flat"], ["features"]),
    ]
    tensors = [constant("zero", [0], np.int64), constant("minus", [-1], np.int64)]
    facts = check_model(model(nodes, tensors, out=("b", 3)).SerializeToString())
    assert facts.values == 3


def test_values_of_the_graph_are_bounded_for_the_size_that_is_used() -> None:
    pads = constant("pads", [0, 0, 0, 0, 0, 0, 4_000, 4_000], np.int64)
    nodes = [
        helper.make_node("Pad", ["pixels", "pads"], ["padded"]),
        helper.make_node("ReduceMean", ["padded"], ["features"], axes=[2, 3], keepdims=0),
    ]
    data = model(nodes, [pads], out=("b", 3)).SerializeToString()
    check_model(data)
    with pytest.raises(BackboneError, match=r"'padded' has 49,.* elements for one picture"):
        check_sizes(data, 64)
    check_sizes(encoded(), 224)
