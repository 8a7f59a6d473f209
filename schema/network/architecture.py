"""Architectures: the layers of a network, and the sizes of its Q matrix. Pure arithmetic.

An image or vector passes the ``features`` (classical layers, possibly none), which give the visible units'
values. The units of Q follow, layer by layer: visible units, the ``energy`` layers, class units.
"""

from __future__ import annotations

import json
import math
import tomllib
from collections.abc import Mapping
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, field_validator, model_validator

from schema.errors import NetworkError
from schema.network.layers import (
    BOUNDED,
    INPUTS,
    Conv,
    ConvUnits,
    Dense,
    DenseUnits,
    FeatureLayers,
    FrozenBackbone,
    ImageInput,
    Input,
    MaxPool,
    PoolUnits,
    Spec,
    Training,
    UnitLayer,
    UnitLayers,
    VectorInput,
    with_kind,
)
from schema.network.names import check_name
from schema.shapes import COLOURS

Shape = tuple[int, ...]
Form = Literal["head", "pooled", "deep"]

# The one-hot penalty fitted for folded visible units; imported weights may lack it.
FOLDED_LAM = "folded.lam"
# The value in (0, 1) above which a visible unit is on; without it 1/2.
THRESHOLD = "tone.threshold"
OPTIONAL: Mapping[str, Shape] = {FOLDED_LAM: (1,), THRESHOLD: (1,)}

PRESETS = ("digits", "digits5x5", "mnist", "conv358")

# Beyond any annealer's graph today, within a worker's memory.
MAX_LAYERS = 32
MAX_UNITS = 5_000
MAX_COUPLERS = 1_000_000
MAX_WEIGHTS = 20_000_000
MAX_ACTIVATIONS = 10_000_000
MAX_CLASSES = 256
MAX_ALPHA = 100.0
BRIGHTEST = 255  # value of a pixel
MAX_FILE_BYTES = 1_000_000


def _check_name(name: str) -> str:
    try:
        return check_name(name)
    except NetworkError:
        raise ValueError from None  # pydantic's own message says more


class Architecture(Spec):
    """The layers of a network; reading one checks its geometry.

    ``alpha``: feature values, which become the visible units' biases, are scaled to [-alpha, alpha].
    """

    name: Annotated[str, AfterValidator(_check_name)] = Field(
        description="1 to 64 printable characters without @"
    )
    input: Input = Field(discriminator="kind", description=INPUTS)
    classes: int = Field(ge=2, le=MAX_CLASSES)
    alpha: float = Field(1.0, gt=0, le=MAX_ALPHA, description=f"above 0 and at most {MAX_ALPHA:g}")
    features: FeatureLayers = Field((), strict=False, description="a list of layers")
    energy: UnitLayers = Field((), strict=False, description="a list of layers")
    training: Training = Training.from_dict({})

    @field_validator("input", mode="before")
    @classmethod
    def _add_kind(cls, values: Any) -> Any:
        return with_kind(values)

    @field_validator("training", mode="before")
    @classmethod
    def _drop_kind(cls, values: Any) -> Any:
        """Ignore a ``kind`` in ``values`` where there is only one."""
        return {k: v for k, v in values.items() if k != "kind"} if isinstance(values, dict) else values

    @model_validator(mode="after")
    def _check_geometry(self) -> Self:
        layers = len(self.features) + len(self.energy)
        if layers > MAX_LAYERS:
            raise NetworkError(f"{layers} layers; at most {MAX_LAYERS} are allowed")
        self._check_backbone()
        if isinstance(self.input, VectorInput) or self.backbone is not None:
            self._check_vectors()
        self._check_features()
        self._check_units()
        return self

    def _check_backbone(self) -> None:
        places = [k for k, layer in enumerate(self.features) if isinstance(layer, FrozenBackbone)]
        if not places:
            return
        if places != [0]:
            raise NetworkError(
                f"features[{places[-1]}] (backbone): a backbone is the first layer, and the only one"
            )
        if not isinstance(self.input, ImageInput) or self.input.channels != COLOURS:
            raise NetworkError(
                "features[0] (backbone): a backbone takes coloured pictures: write channels = 3 in [input]"
            )
        if self.input.average != 1 or self.input.image_max != BRIGHTEST:
            raise NetworkError(
                f"features[0] (backbone): a backbone takes pixels from 0 to {BRIGHTEST} and resizes pictures "
                "itself: leave out average and image_max in [input]"
            )

    def _check_vectors(self) -> None:
        if not any(isinstance(layer, Dense) for layer in self.features):
            raise NetworkError(
                "vectors have values of any size, and visible units values from 0 to 1: begin the feature "
                "layers with a dense one, the last of them with activation tanh or sigmoid"
            )
        if self.training.shift or self.training.flips:
            raise NetworkError("training: shift and flips move pixels, vectors have none: leave them out")

    def _check_features(self) -> None:
        if sum(math.prod(shape) for shape in self.feature_shapes) > MAX_ACTIVATIONS:
            raise NetworkError(
                f"the feature layers have over {MAX_ACTIVATIONS} values an image; use fewer filters"
            )
        if self.weights > MAX_WEIGHTS:
            raise NetworkError(f"{self.weights} weights; at most {MAX_WEIGHTS} are allowed: use fewer units")
        active = [
            (index, layer) for index, layer in enumerate(self.features) if isinstance(layer, Conv | Dense)
        ]
        if self.features and not active:
            raise NetworkError("the feature layers only pool: add a conv or dense layer, or leave them out")
        if active and active[-1][1].activation not in BOUNDED:
            index, layer = active[-1]
            raise NetworkError(
                f"features[{index}] ({layer.kind}): the last activation is {layer.activation}, but feature "
                f"values are scaled to [-alpha, alpha]: use {' or '.join(BOUNDED)}"
            )

    def _check_units(self) -> None:
        if self.units > MAX_UNITS:
            sizes = " + ".join(map(str, self.sizes))
            raise NetworkError(f"Q would have {sizes} = {self.units} units; at most {MAX_UNITS} are allowed")
        if sum(self.couplers) > MAX_COUPLERS:
            raise NetworkError(
                f"Q would have {sum(self.couplers)} couplers; at most {MAX_COUPLERS} are allowed"
            )

    @property
    def backbone(self) -> FrozenBackbone | None:
        """Return the pretrained first layer, if there is one."""
        first = self.features[0] if self.features else None
        return first if isinstance(first, FrozenBackbone) else None

    @cached_property
    def head(self) -> Architecture:
        """Return the layers that are trained: those after the backbone, on its vectors; without one, all."""
        if self.backbone is None:
            return self
        vectors = VectorInput(kind="vector", values=self.backbone.values)
        return self.replace(input=vectors, features=self.features[1:])

    @cached_property
    def feature_shapes(self) -> tuple[Shape, ...]:
        """Return the shape after each feature layer: (channels, rows, columns) or (units,)."""
        shapes: list[Shape] = []
        shape: Shape = self.input.shape
        for index, layer in enumerate(self.features):
            shape = _shape_after(layer, shape, f"features[{index}] ({layer.kind})")
            shapes.append(shape)
        return tuple(shapes)

    @cached_property
    def unit_shapes(self) -> tuple[Shape, ...]:
        """Return the shape of each layer of Q: visible units, the energy layers, class units."""
        shapes = [self.feature_shapes[-1] if self.features else self.input.shape]
        for index, layer in enumerate(self.energy):
            shapes.append(_shape_after(layer, shapes[-1], f"energy[{index}] ({layer.kind})"))
        return (*shapes, (self.classes,))

    @cached_property
    def sizes(self) -> tuple[int, ...]:
        """Return the number of units in each layer of Q, visible layer first, class layer last."""
        return tuple(math.prod(shape) for shape in self.unit_shapes)

    def has_class_units_only(self, visible: str) -> bool:
        """Return whether Q has no other units than those of classes, if ``visible`` units are so treated.

        Then a class has one energy, whatever is read.
        """
        return visible == "folded" and len(self.sizes) == 2

    @property
    def visible(self) -> int:
        """Return the number of visible units, which is the number of feature values."""
        return self.sizes[0]

    @property
    def units(self) -> int:
        """Return the number of variables of Q when the visible units are sampled."""
        return sum(self.sizes)

    @cached_property
    def couplers(self) -> tuple[int, ...]:
        """Return the couplers between each layer of Q and the next, and last those among the class units."""
        between = [
            _couplers(layer, self.unit_shapes[index], self.unit_shapes[index + 1])
            for index, layer in enumerate(self.energy)
        ]
        return (*between, self.sizes[-2] * self.classes, self.classes * (self.classes - 1) // 2)

    @property
    def density(self) -> float:
        """Return the number of couplers divided by that of pairs of units, in [0, 1]."""
        return sum(self.couplers) / math.comb(self.units, 2)

    @cached_property
    def shapes(self) -> dict[str, Shape]:
        """Return name and shape of each weight array, in the layout of torch.nn.Conv2d and torch.nn.Linear.

        Pooling units have no weights, and class units no bias (the paper sets b = 0). A backbone has none
        here, and the layers after it are counted from 0.
        """
        if self.backbone is not None:
            return self.head.shapes
        shapes: dict[str, Shape] = {}
        before: Shape = self.input.shape
        for index, layer in enumerate(self.features):
            shapes |= _weight_shapes(f"features.{index}", layer, before)
            before = self.feature_shapes[index]
        for index, unit_layer in enumerate(self.energy):
            shapes |= _weight_shapes(f"energy.{index}", unit_layer, self.unit_shapes[index])
        return {**shapes, "classes.weight": (self.classes, self.sizes[-2])}

    @property
    def weights(self) -> int:
        """Return the number of trained values."""
        return sum(math.prod(shape) for shape in self.shapes.values())

    @property
    def form(self) -> Form:
        """Return ``head`` (classes on visible units), ``pooled`` (one pooling layer between) or ``deep``."""
        if not self.energy:
            return "head"
        return "pooled" if len(self.energy) == 1 and isinstance(self.energy[0], PoolUnits) else "deep"

    def summary(self) -> dict[str, Any]:
        """Return the shapes and sizes of all layers and of Q as plain JSON, for display."""
        kinds = ["visible", *(layer.kind for layer in self.energy), "classes"]
        return {
            "features": [
                {"kind": layer.kind, "shape": list(shape)}
                for layer, shape in zip(self.features, self.feature_shapes, strict=True)
            ],
            "units": [
                {"kind": kind, "shape": list(shape), "units": math.prod(shape)}
                for kind, shape in zip(kinds, self.unit_shapes, strict=True)
            ],
            "couplers": list(self.couplers),
            "size": self.units,
            "size_folded": self.units - self.visible,
            "density": self.density,
            "weights": self.weights,
        }


def load(path: Path) -> Architecture:
    """Read an architecture from the ``.toml`` or ``.json`` file ``path``.

    Raises:
        NetworkError: the file is missing, too large, not TOML or JSON, or describes an impossible network.
    """
    try:
        return Architecture.from_dict(read_table(path))
    except NetworkError as error:
        raise NetworkError(f"{path}: {error}") from None


def read_table(path: Path) -> object:
    """Read the plain values of the ``.toml`` or ``.json`` file ``path``.

    Raises:
        NetworkError: the file is missing, too large, or not TOML or JSON.
    """
    if path.suffix not in (".toml", ".json"):
        raise NetworkError(f"{path}: an architecture is a .toml or .json file")
    try:
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise NetworkError(f"{path}: cannot be read: {error.strerror}") from error
    if len(content) > MAX_FILE_BYTES:
        raise NetworkError(f"{path}: larger than {MAX_FILE_BYTES} bytes, too large for an architecture")
    try:
        text = content.decode()
        return tomllib.loads(text) if path.suffix == ".toml" else json.loads(text)
    except (ValueError, RecursionError) as error:
        raise NetworkError(f"{path}: not valid {path.suffix[1:].upper()}: {error}") from None


def preset(name: str) -> Architecture:
    """Return the shipped architecture ``name``, one of `PRESETS`."""
    if name not in PRESETS:
        raise NetworkError(f"no preset {name!r}; there are {', '.join(PRESETS)}")
    text = files("schema").joinpath("presets", f"{name}.toml").read_text(encoding="utf-8")
    return Architecture.from_dict(tomllib.loads(text))


def _shape_after(layer: Spec, shape: Shape, where: str) -> Shape:
    if isinstance(layer, FrozenBackbone):
        return (layer.values,)
    if isinstance(layer, Dense | DenseUnits):
        return (layer.units,)
    if len(shape) != 3:
        raise NetworkError(
            f"{where} needs rows and columns, but the layer before has {shape[0]} units in a row"
        )
    channels, rows, columns = shape
    if isinstance(layer, Conv | ConvUnits):
        padding = layer.padding if isinstance(layer, Conv) else 0
        _refuse_wider(layer.kernel, rows + 2 * padding, columns + 2 * padding, where)
        out = [(side + 2 * padding - layer.kernel) // layer.stride + 1 for side in (rows, columns)]
        return (layer.filters, *out)
    assert isinstance(layer, MaxPool | PoolUnits)  # noqa: S101  (the last two kinds)
    _refuse_wider(layer.size, rows, columns, where)
    if isinstance(layer, PoolUnits) and (rows % layer.size or columns % layer.size):
        raise NetworkError(
            f"{where}: {rows} x {columns} units do not divide into {layer.size} x {layer.size} pools"
        )
    return (channels, rows // layer.size, columns // layer.size)


def _refuse_wider(window: int, rows: int, columns: int, where: str) -> None:
    if window > min(rows, columns):
        raise NetworkError(f"{where}: a {window} x {window} window does not fit into {rows} x {columns}")


def _couplers(layer: UnitLayer, before: Shape, after: Shape) -> int:
    if isinstance(layer, PoolUnits):
        return math.prod(before)
    fan_in = math.prod(before) if isinstance(layer, DenseUnits) else before[0] * layer.kernel**2
    return fan_in * math.prod(after)


def _weight_shapes(prefix: str, layer: Spec, before: Shape) -> dict[str, Shape]:
    if isinstance(layer, Conv | ConvUnits):
        weight: Shape = (layer.filters, before[0], layer.kernel, layer.kernel)
    elif isinstance(layer, Dense | DenseUnits):
        weight = (layer.units, math.prod(before))
    else:
        return {}
    return {f"{prefix}.weight": weight, f"{prefix}.bias": weight[:1]}
