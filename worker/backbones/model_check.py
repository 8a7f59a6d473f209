"""Checks the graph of an ONNX file before anything runs it. Call it in a confined process.

The file is read from its bytes alone. What it may hold is listed, and everything else is refused: a crafted
file can otherwise read other files, hang, or ask for more memory than there is.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from schema.errors import BackboneError
from schema.network.backbones import EXPORT, MAX_FILE_BYTES
from schema.shapes import BACKBONE_SIZES, MAX_VALUES
from worker.backbones.operators import ALLOWED, SHAPE_INPUTS
from worker.backbones.tensors import check_tensor

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto, ValueInfoProto

MAX_NODES = 3_000
MAX_TENSORS = 10_000  # initialisers
MAX_ELEMENTS = 32_000_000  # of one value of the graph, for one picture
_OPSETS = (7, 26)  # of the standard's versions; what lies outside was never tried
_DOMAINS = ("", "ai.onnx")


@dataclass(frozen=True)
class GraphFacts:
    """What the graph of a backbone says about itself.

    Attributes:
        input, output: names of its input and output.
        size: height and width of its pictures, if the file fixes them.
        values: of its output, if the file fixes them.
        nodes: number of nodes.
        parameters: number of trained values.
        operators: how often each operator is used.
    """

    input: str
    output: str
    size: int | None
    values: int | None
    nodes: int
    parameters: int
    operators: dict[str, int]


def check_model(data: bytes) -> GraphFacts:
    """Check the ONNX file ``data`` and return what its graph says.

    Raises:
        BackboneError: it is no ONNX file, or holds what a backbone may not.
    """
    import onnx
    from google.protobuf.message import DecodeError

    if len(data) > MAX_FILE_BYTES:
        raise BackboneError(
            f"the file has {len(data):,} bytes; at most {MAX_FILE_BYTES:,} are read: choose a smaller model"
        )
    try:
        model = onnx.load_model_from_string(data)
    except (DecodeError, ValueError) as error:
        raise BackboneError(
            f"this is not an ONNX file, or only a part of one ({error!s:.100}): {EXPORT}"
        ) from None
    _check_parts(model)
    _check_nodes(model.graph)
    _check_shapes_are_fixed(model.graph)
    facts = _facts(model)
    try:
        onnx.checker.check_model(model, full_check=False)
    except onnx.checker.ValidationError as error:
        raise BackboneError(f"the ONNX standard does not allow this graph: {error!s:.200}") from None
    return facts


def check_sizes(data: bytes, size: int) -> None:
    """Check that no value of the checked file ``data`` is too large for a picture of ``size`` pixels.

    Raises:
        BackboneError: one is, or the shapes contradict each other.
    """
    import onnx

    model = onnx.load_model_from_string(data)
    shape = _inputs(model.graph)[0].type.tensor_type.shape
    for side, length in zip(shape.dim, (1, 3, size, size), strict=True):
        side.dim_value = length
    try:
        inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
    except onnx.shape_inference.InferenceError as error:
        raise BackboneError(
            f"the graph does not take pictures of {size} x {size} pixels: {error!s:.200}"
        ) from None
    for value in (*inferred.graph.value_info, *inferred.graph.output):
        elements = 1
        for side in value.type.tensor_type.shape.dim:
            elements *= max(side.dim_value, 1)
        if elements > MAX_ELEMENTS:
            raise BackboneError(
                f"value {value.name!r:.80} has {elements:,} elements for one picture; at most "
                f"{MAX_ELEMENTS:,} are allowed: use a smaller --size"
            )


def _check_parts(model: ModelProto) -> None:
    """Refuse parts of a file that a frozen graph does not need."""
    graph = model.graph
    parts = {
        "functions of its own": model.functions,
        "training steps": model.training_info,
        "sparse tensors": graph.sparse_initializer,
        "quantised tensors": graph.quantization_annotation,
    }
    for name, part in parts.items():
        if len(part):
            raise BackboneError(f"the file has {name}, which a backbone may not have: {EXPORT}")
    versions = {each.domain: each.version for each in model.opset_import}
    if foreign := sorted(domain for domain in versions if domain not in _DOMAINS):
        raise BackboneError(
            f"the file uses operators of {foreign[0]!r:.80}; only those of the ONNX standard are allowed: "
            f"{EXPORT}"
        )
    low, high = _OPSETS
    for version in versions.values():
        if not low <= version <= high:
            raise BackboneError(f"the file uses opset {version}; {low} to {high} are read: {EXPORT}")
    if len(graph.node) > MAX_NODES:
        raise BackboneError(f"the graph has {len(graph.node):,} nodes; at most {MAX_NODES:,} are allowed")
    if len(graph.initializer) > MAX_TENSORS:
        raise BackboneError(
            f"the graph has {len(graph.initializer):,} tensors; at most {MAX_TENSORS:,} are allowed"
        )


def _check_nodes(graph: GraphProto) -> None:
    """Check operators, attributes and tensors of ``graph``."""
    from onnx import AttributeProto

    for tensor in graph.initializer:
        check_tensor(tensor)
    plain = {
        AttributeProto.FLOAT, AttributeProto.FLOATS, AttributeProto.INT, AttributeProto.INTS,
        AttributeProto.STRING, AttributeProto.TENSOR,
    }  # fmt: skip
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type not in plain or attribute.ref_attr_name or _holds_more(attribute):
                raise BackboneError(
                    f"{_named(node)} has attribute {attribute.name!r:.80}, which holds a graph, a sparse "
                    f"tensor or a list of tensors: {EXPORT}"
                )
            if attribute.type == AttributeProto.TENSOR:
                check_tensor(attribute.t)
        if node.domain not in _DOMAINS or node.op_type not in ALLOWED:
            operator = f"{node.domain}.{node.op_type}".strip(".")
            raise BackboneError(
                f"{_named(node)} is the operator {operator!r:.80}; a backbone may use "
                f"{', '.join(sorted(ALLOWED))}"
            )


def _holds_more(attribute: Any) -> bool:
    """Return whether ``attribute`` holds what its type does not say: a reader may look there, too."""
    lists = (attribute.graphs, attribute.tensors, attribute.sparse_tensors, attribute.strings)
    single = any(attribute.HasField(name) for name in ("g", "sparse_tensor", "tp"))
    return single or any(len(each) for each in (*lists, attribute.type_protos))


def _check_shapes_are_fixed(graph: GraphProto) -> None:
    """Check that shapes follow from the input's shape alone, not from values of pixels."""
    known = {tensor.name for tensor in graph.initializer} | {""}
    for node in graph.node:
        for position in SHAPE_INPUTS.get(node.op_type, ()):
            if position < len(node.input) and node.input[position] not in known:
                raise BackboneError(
                    f"{_named(node)}: its input {position} decides a shape and follows from the pixels; only "
                    f"constants and shapes may: {EXPORT}"
                )
        if node.op_type == "Shape" or all(name in known for name in node.input):
            known.update(node.output)


def _facts(model: ModelProto) -> GraphFacts:
    graph = model.graph
    inputs = _inputs(graph)
    if len(inputs) != 1 or len(graph.output) != 1:
        raise BackboneError(
            f"the graph has {len(inputs)} inputs and {len(graph.output)} outputs; a backbone has one input "
            f"(b, 3, H, W) and one output (b, D): {EXPORT}"
        )
    sides = _shape(inputs[0], 4)
    if sides[1] not in (3, None) or sides[2] != sides[3]:
        raise BackboneError(
            f"the input has shape {_text(sides)}; a backbone takes (b, 3, H, W), colour and square: {EXPORT}"
        )
    if sides[2] not in (*BACKBONE_SIZES, None):
        raise BackboneError(
            f"the input has shape {_text(sides)}; pictures have {' or '.join(map(str, BACKBONE_SIZES))} "
            f"pixels a side: {EXPORT}"
        )
    out = _shape(graph.output[0], 2)
    if sides[0] is not None or out[0] is not None:
        raise BackboneError(
            f"the graph takes {sides[0] or out[0]} picture(s) at once, not any number: {EXPORT}"
        )
    if out[1] is not None and out[1] > MAX_VALUES:
        raise BackboneError(f"the output has {out[1]:,} values; at most {MAX_VALUES:,} are allowed")
    return GraphFacts(
        input=inputs[0].name,
        output=graph.output[0].name,
        size=sides[2],
        values=out[1],
        nodes=len(graph.node),
        parameters=sum(_elements(tensor.dims) for tensor in graph.initializer),
        operators=dict(sorted(Counter(node.op_type for node in graph.node).items())),
    )


def _inputs(graph: GraphProto) -> list[ValueInfoProto]:
    """Return the inputs of ``graph``; earlier versions of the format list initialisers among them."""
    own = {tensor.name for tensor in graph.initializer}
    return [each for each in graph.input if each.name not in own]


def _shape(value: ValueInfoProto, rank: int) -> list[int | None]:
    """Return the sides of ``value``, None for any; raise BackboneError unless it is float32 of ``rank``."""
    from onnx import TensorProto

    tensor = value.type.tensor_type
    sides = list(tensor.shape.dim)
    if tensor.elem_type != TensorProto.FLOAT or len(sides) != rank:
        wanted = "(b, 3, H, W)" if rank == 4 else "(b, D)"
        raise BackboneError(
            f"{value.name!r:.80} must be float32 {wanted}, not type {tensor.elem_type} with "
            f"{len(sides)} dimensions: {EXPORT}"
        )
    return [side.dim_value if side.HasField("dim_value") else None for side in sides]


def _elements(sides: Any) -> int:
    count = 1
    for side in sides:
        count *= side
    return count


def _text(sides: list[int | None]) -> str:
    return "(" + ", ".join("?" if side is None else str(side) for side in sides) + ")"


def _named(node: NodeProto) -> str:
    return f"node {node.name or (node.output[0] if node.output else '?')!r:.80}"
