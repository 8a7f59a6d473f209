"""Checks of the tensors that a file holds: initialisers, and those in attributes of nodes."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from schema.errors import BackboneError

if TYPE_CHECKING:
    from onnx import TensorProto

# Names of the element types that weights, indices and masks have, with their bytes.
_BYTES = {
    "FLOAT": 4, "FLOAT16": 2, "DOUBLE": 8, "INT8": 1, "UINT8": 1, "INT32": 4, "INT64": 8, "BOOL": 1,
}  # fmt: skip
_FIELDS = ("float_data", "int32_data", "int64_data", "double_data")


def check_tensor(tensor: TensorProto) -> None:
    """Check that ``tensor`` holds all of its values itself, and as many as its shape says.

    Raises:
        BackboneError: its values are in another file, of an unknown type, too many or too few.
    """
    from onnx import TensorProto

    name = f"tensor {tensor.name!r:.80}"
    if tensor.data_location != TensorProto.DEFAULT or len(tensor.external_data):
        raise BackboneError(
            f"{name} keeps its values in another file, which is never read: export the model with "
            "external_data=False"
        )
    kind = _type_name(tensor.data_type)
    if kind not in _BYTES:
        raise BackboneError(f"{name} has values of type {kind}: use {', '.join(_BYTES)}")
    if any(side < 0 for side in tensor.dims) or tensor.HasField("segment"):
        raise BackboneError(f"{name} has shape {list(tensor.dims)!r:.80}: export the model again")
    wanted = math.prod(tensor.dims)
    if tensor.raw_data:
        has, wanted = len(tensor.raw_data), wanted * _BYTES[kind]
        unit = "bytes"
    else:
        has, unit = sum(len(getattr(tensor, field)) for field in _FIELDS), "values"
    if has != wanted:
        raise BackboneError(f"{name} declares {wanted:,} {unit} and holds {has:,}: export the model again")


def _type_name(number: int) -> str:
    from onnx import TensorProto

    try:
        return str(TensorProto.DataType.Name(number))
    except ValueError:
        return f"number {number}"
