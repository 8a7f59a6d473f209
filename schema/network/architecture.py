"""Architectures: the layers of a network, and the sizes of its Q matrix. Pure arithmetic.

An image or vector passes the ``features`` (classical layers, possibly none), which give the visible units'
values. The units of Q follow, layer by layer: visible units, the ``energy`` layers, class units. Instead of
``features`` there may be several ``source`` blocks, whose visible units stand side by side.
"""

from __future__ import annotations

import json
import math
import tomllib
from collections.abc import Mapping
from functools import cached_property
from importlib.resources import files
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    Field,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
    model_validator,
)

from schema.errors import NetworkError
from schema.network.layers import (
    INPUTS,
    Activation,
    DenseUnits,
    FeatureLayers,
    FrozenBackbone,
    ImageInput,
    Input,
    PoolUnits,
    Spec,
    Training,
    UnitLayer,
    UnitLayers,
    VectorInput,
    with_kind,
)
from schema.network.names import check_name
from schema.network.sources import (
    LayerStack,
    Shape,
    Sources,
    check_sources,
    shape_after,
    weight_shapes,
)

Form = Literal["head", "pooled", "deep"]

# The one-hot penalty fitted for folded visible units; imported weights may lack it.
FOLDED_LAM = "folded.lam"
# The same for images that a source is left out of.
FOLDED_LAM_WITHOUT = "folded.lam_without"
# The value in (0, 1) above which a visible unit is on; without it 1/2.
THRESHOLD = "tone.threshold"
OPTIONAL: Mapping[str, Shape] = {FOLDED_LAM: (1,), FOLDED_LAM_WITHOUT: (1,), THRESHOLD: (1,)}

PRESETS = ("digits", "digits5x5", "mnist", "conv358")

# Beyond any annealer's graph today, within a worker's memory.
MAX_LAYERS = 32
MAX_UNITS = 5_000
MAX_COUPLERS = 1_000_000
MAX_WEIGHTS = 20_000_000
MAX_ACTIVATIONS = 10_000_000
MAX_CLASSES = 256
MAX_ALPHA = 100.0
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
    source: Sources = Field((), strict=False, description="a list of tables [[source]]")
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

    @model_serializer(mode="wrap")
    def _leave_out_no_sources(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # Networks without sources have the digests that they had before there were any.
        return {name: value for name, value in dump(self).items() if name != "source" or value}

    @model_validator(mode="after")
    def _check_geometry(self) -> Self:
        layers = sum(len(stack.layers) for stack in self.stacks) + len(self.energy)
        if layers > MAX_LAYERS:
            raise NetworkError(f"{layers} layers; at most {MAX_LAYERS} are allowed")
        if self.source and self.features:
            raise NetworkError("there are features and sources: make a [[source]] of the features")
        for stack in self.stacks:
            stack.check()
        if self.source:
            check_sources(self.stacks, self.training.learning_rate)
        self._check_sizes()
        self._check_units()
        return self

    def _check_sizes(self) -> None:
        sees_vectors = isinstance(self.input, VectorInput) or bool(self.backbones)
        if sees_vectors and (self.training.shift or self.training.flips):
            raise NetworkError("training: shift and flips move pixels, vectors have none: leave them out")
        if isinstance(self.input, ImageInput) and self.input.average != 1 and not self.sees_images:
            raise NetworkError("input: a backbone resizes pictures itself: leave out average")
        if sum(math.prod(shape) for shape in self.feature_shapes) > MAX_ACTIVATIONS:
            raise NetworkError(
                f"the feature layers have over {MAX_ACTIVATIONS} values an image; use fewer filters"
            )
        if self.weights > MAX_WEIGHTS:
            raise NetworkError(f"{self.weights} weights; at most {MAX_WEIGHTS} are allowed: use fewer units")

    def _check_units(self) -> None:
        if self.units > MAX_UNITS:
            sizes = " + ".join(map(str, self.sizes))
            blocks = ", ".join(
                f"{stack.name} {math.prod(stack.gives)}" for stack in self.stacks if stack.name
            )
            visible = f" (visible: {blocks})" if blocks else ""
            raise NetworkError(
                f"Q would have {sizes} = {self.units} units{visible}; at most {MAX_UNITS} are allowed"
            )
        if sum(self.couplers) > MAX_COUPLERS:
            raise NetworkError(
                f"Q would have {sum(self.couplers)} couplers; at most {MAX_COUPLERS} are allowed"
            )

    @cached_property
    def stacks(self) -> tuple[LayerStack, ...]:
        """Return the trained feature layers of each source, or the only ones, which have no name."""
        if not self.source:
            return (LayerStack.of(self.features, self.input),)
        return tuple(LayerStack.of(source.features, self.input, source) for source in self.source)

    @cached_property
    def backbones(self) -> tuple[FrozenBackbone, ...]:
        """Return the different pretrained layers that the sources, or the features, begin with."""
        return tuple(dict.fromkeys(stack.backbone for stack in self.stacks if stack.backbone is not None))

    @property
    def sees_images(self) -> bool:
        """Return whether a trained layer sees the image itself, and not the vectors of a backbone."""
        return any(stack.backbone is None for stack in self.stacks)

    @property
    def joined_values(self) -> int | None:
        """Return how many values the trained layers take in place of an image; None: they take the image.

        These are the vectors of ``backbones``, in their order, and after them the pixels if a source sees
        them.
        """
        if not self.backbones:
            return None
        pixels = self.input.image_shape.count if self.sees_images else 0
        return sum(layer.values for layer in self.backbones) + pixels

    @cached_property
    def places(self) -> tuple[slice | None, ...]:
        """Return which values of a row each of ``stacks`` takes; None: it takes the whole image or vector.

        A row is a vector, or what `joined_values` says, with pixels as the layers see them.
        """
        ends = list(accumulate((layer.values for layer in self.backbones), initial=0))
        vectors = {layer: slice(*pair) for layer, pair in zip(self.backbones, pairwise(ends), strict=True)}
        pixels = slice(ends[-1], None) if vectors else None
        return tuple(
            (stack.columns or pixels) if stack.backbone is None else vectors[stack.backbone]
            for stack in self.stacks
        )

    @property
    def feature_shapes(self) -> tuple[Shape, ...]:
        """Return the shape after each trained layer, of one source after another; see `LayerStack.shapes`."""
        return tuple(shape for stack in self.stacks for shape in stack.shapes)

    @property
    def has_feature_layers(self) -> bool:
        """Return whether the values of the visible units are computed by layers; they are pixels else."""
        return any(stack.layers for stack in self.stacks)

    @property
    def last_activation(self) -> Activation | None:
        """Return the activation that gives the values of all visible units; None: no layer has one."""
        return self.stacks[0].last_activation

    @cached_property
    def blocks(self) -> dict[str, slice]:
        """Return the visible units of each source by its name; empty without sources."""
        ends = accumulate((math.prod(stack.gives) for stack in self.stacks), initial=0)
        named = zip(self.stacks, pairwise(ends), strict=True)
        return {stack.name: slice(*ends) for stack, ends in named if stack.name is not None}

    @cached_property
    def unit_shapes(self) -> tuple[Shape, ...]:
        """Return the shape of each layer of Q: visible units, the energy layers, class units."""
        visible: list[Shape] = [stack.gives for stack in self.stacks]
        shapes: list[Shape] = visible if len(visible) == 1 else [(sum(map(math.prod, visible)),)]
        for index, layer in enumerate(self.energy):
            shapes.append(shape_after(layer, shapes[-1], f"energy[{index}] ({layer.kind})"))
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
        shapes: dict[str, Shape] = {}
        for stack in self.stacks:
            shapes |= stack.weight_shapes
        for index, unit_layer in enumerate(self.energy):
            shapes |= weight_shapes(f"energy.{index}", unit_layer, self.unit_shapes[index])
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
                {
                    **stack.named,
                    "kind": layer.kind,
                    "shape": list(shape),
                }
                for stack in self.stacks
                for layer, shape in stack.all_layers
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


def _couplers(layer: UnitLayer, before: Shape, after: Shape) -> int:
    if isinstance(layer, PoolUnits):
        return math.prod(before)
    fan_in = math.prod(before) if isinstance(layer, DenseUnits) else before[0] * layer.kernel**2
    return fan_in * math.prod(after)
