"""Operators of the ONNX standard that a backbone may use.

None of them holds a graph, calls a function, or makes a large tensor of nothing (Loop, If, Scan,
ConstantOfShape, Expand and Tile do). Those below can give a tensor another shape by the *value* of an input:
such an input must be a constant or follow from shapes alone, so that the size of the pictures decides every
shape, and the dry run shows what the worker will need.
"""

from __future__ import annotations

from collections.abc import Mapping

_LAYERS = ("Conv", "Gemm", "MatMul", "BatchNormalization", "LayerNormalization")
_POOLS = ("AveragePool", "GlobalAveragePool", "GlobalMaxPool", "MaxPool", "ReduceMean")
_ACTIVATIONS = ("Clip", "Erf", "Gelu", "HardSigmoid", "HardSwish", "LeakyRelu", "Relu", "Sigmoid", "Softmax")
_ARITHMETIC = ("Add", "Div", "Mul", "Pow", "Sqrt", "Sub")
_SHAPES = ("Concat", "Flatten", "Pad", "Reshape", "Slice", "Squeeze", "Transpose", "Unsqueeze")
_PLUMBING = ("Cast", "Constant", "Gather", "Identity", "Shape")

ALLOWED = frozenset((*_LAYERS, *_POOLS, *_ACTIVATIONS, *_ARITHMETIC, *_SHAPES, *_PLUMBING))

# By operator, the inputs whose values decide the shape of its output.
SHAPE_INPUTS: Mapping[str, tuple[int, ...]] = {
    "Gather": (1,),
    "Pad": (1, 3),
    "ReduceMean": (1,),
    "Reshape": (1,),
    "Slice": (1, 2, 3, 4),
    "Squeeze": (1,),
    "Unsqueeze": (1,),
}
