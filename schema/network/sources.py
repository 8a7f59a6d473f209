"""Layers one after another, their shapes and weights; and sources, which are named blocks of feature layers.

Sources see the same image, and their visible units are joined in Q.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any

from pydantic import (
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    ValidatorFunctionWrapHandler,
    field_validator,
    model_serializer,
)

from schema.errors import NetworkError
from schema.network.layers import (
    BOUNDED,
    Activation,
    Conv,
    ConvUnits,
    Dense,
    DenseUnits,
    FeatureLayer,
    FeatureLayers,
    FrozenBackbone,
    Histogram,
    ImageInput,
    Input,
    MaxPool,
    PoolUnits,
    Spec,
    VectorInput,
)
from schema.shapes import BRIGHTEST, COLOURS, MAX_VALUES

Shape = tuple[int, ...]

MAX_SOURCES = 8
MAX_BINS = 4096  # of a histogram, all colours together
NAME = r"[a-z][a-z0-9_-]{0,31}"
_COLUMNS = "[first, last], whole numbers from 0, both included"
_BOUNDED_LAST = "the last of them with activation tanh or sigmoid"
_VECTORS = (
    "vectors have values of any size, and visible units values from 0 to 1: begin the feature layers with a "
    f"dense one, {_BOUNDED_LAST}"
)
_HISTOGRAM = f"nothing has learnt of a histogram's shares of pixels: add a dense layer, {_BOUNDED_LAST}"
_Column = Annotated[int, Field(ge=0, lt=MAX_VALUES)]


class Source(Spec):
    """A block of feature layers with visible units of its own.

    Attributes:
        name: by which it is left out, `--without NAME`; its weights are called `sources.NAME.0.weight`, ....
        features: its layers. The first sees the whole image, or ``columns`` of a vector; it may be a
            backbone.
        columns: first and last value of a vector that it takes, from 0, both included; None: all.
        decay: as ``dense_decay`` of the training, for its first dense layer; None: that of the training.
        dropout: share of the images of a training that do without it. 0: it cannot be left out later.
    """

    name: str = Field(
        pattern=f"^{NAME}$",
        description="1 to 32 of a-z, 0-9, _ and -, the first a letter",
    )
    features: FeatureLayers = Field(strict=False, description="a list of layers")
    columns: tuple[_Column, _Column] | None = Field(None, strict=False, description=_COLUMNS)
    decay: float | None = Field(None, ge=0.0, le=1000.0, description="a number from 0 to 1000")
    dropout: float = Field(0.0, ge=0.0, le=0.9)

    @field_validator("columns", mode="wrap")
    @classmethod
    def _check_columns(cls, values: Any, check: ValidatorFunctionWrapHandler) -> Any:
        try:
            return check(values)
        except ValidationError:
            raise ValueError from None  # the description of the field says more

    @model_serializer(mode="wrap")
    def _leave_out_none(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {name: value for name, value in dump(self).items() if value is not None}


Sources = tuple[Source, ...]


@dataclass(frozen=True)
class LayerStack:
    """Trained feature layers one after another: those of a source, or of a whole network.

    Attributes:
        prefix: of the names of their weights, which are counted from 0.
        takes: shape of what the first one sees.
        layers: their specifications.
        source: the block that they belong to; None: the network has no sources.
        backbone: the pretrained layer before them, whose vectors they see; None: they see the image.
    """

    prefix: str
    takes: Shape
    layers: FeatureLayers
    source: Source | None = None
    backbone: FrozenBackbone | None = None

    @classmethod
    def of(cls, features: FeatureLayers, takes: Input, source: Source | None = None) -> LayerStack:
        """Return the layers ``features``, of ``source`` if there are sources, on what a network ``takes``.

        Raises:
            NetworkError: the columns of ``source`` are not among those of ``takes``, or its backbone does not
                take such images.
        """
        prefix = "features" if source is None else f"sources.{source.name}"
        shape = takes.shape if source is None else _columns_shape(source, takes)
        if features and isinstance(first := features[0], FrozenBackbone):
            stack = cls(prefix, (first.values,), features[1:], source, first)
            stack._check_pictures(takes)
            return stack
        return cls(prefix, shape, features, source)

    @property
    def columns(self) -> slice | None:
        """Return which values of a vector they see; None: all that is given."""
        columns = None if self.source is None else self.source.columns
        return None if columns is None else slice(columns[0], columns[1] + 1)

    @property
    def name(self) -> str | None:
        """Return the name of the source."""
        return None if self.source is None else self.source.name

    @property
    def named(self) -> dict[str, str]:
        """Return the name as a part of plain values; empty without one."""
        return {} if self.name is None else {"source": self.name}

    @property
    def where(self) -> str:
        """Return where the layers stand, for messages."""
        return "features" if self.source is None else f"source {self.name!r}: features"

    @cached_property
    def shapes(self) -> tuple[Shape, ...]:
        """Return the shape after each layer: (channels, rows, columns) or (units,)."""
        shapes: list[Shape] = []
        shape = self.takes
        for index, layer in enumerate(self.layers):
            shape = shape_after(layer, shape, self._place(index))
            shapes.append(shape)
        return tuple(shapes)

    @property
    def all_layers(self) -> tuple[tuple[FeatureLayer, Shape], ...]:
        """Return each layer with the shape after it, the backbone first if there is one."""
        first: tuple[tuple[FeatureLayer, Shape], ...] = ()
        if self.backbone is not None:
            first = ((self.backbone, self.takes),)
        return (*first, *zip(self.layers, self.shapes, strict=True))

    @property
    def gives(self) -> Shape:
        """Return the shape after the last layer, that of the visible units."""
        return self.shapes[-1] if self.layers else self.takes

    @property
    def weight_shapes(self) -> dict[str, Shape]:
        """Return name and shape of each weight array."""
        shapes: dict[str, Shape] = {}
        for index, (layer, before) in enumerate(zip(self.layers, (self.takes, *self.shapes), strict=False)):
            shapes |= weight_shapes(f"{self.prefix}.{index}", layer, before)
        return shapes

    @property
    def last_activation(self) -> Activation | None:
        """Return the activation that gives the values of the visible units; None: no layer has one."""
        active = [layer.activation for layer in self.layers if isinstance(layer, Conv | Dense)]
        return active[-1] if active else None

    @property
    def vector_at(self) -> int | None:
        """Return the index of the first trained layer, if it takes a vector: one that nothing has scaled."""
        if len(self.takes) == 1:
            return 0
        return 1 if self.layers and isinstance(self.layers[0], Histogram) else None

    def check(self) -> None:
        """Raise NetworkError unless the layers give values that visible units can have."""
        for index, layer in enumerate(self.layers):
            if isinstance(layer, FrozenBackbone):
                raise NetworkError(
                    f"{self._place(index)}: a backbone is the first layer, and the only one of its features"
                )
            if isinstance(layer, Histogram) and (index or self.backbone):
                raise NetworkError(f"{self.where}: a histogram counts the colours of an image: put it first")
        has_dense = any(isinstance(layer, Dense) for layer in self.layers)
        if self.vector_at is not None and not has_dense:
            is_histogram = isinstance(self.layers[0], Histogram) if self.layers else False
            raise NetworkError(self._prefixed(_HISTOGRAM if is_histogram else _VECTORS))
        active = [(k, layer) for k, layer in enumerate(self.layers) if isinstance(layer, Conv | Dense)]
        if not active and self.source is not None:
            raise NetworkError(self._prefixed("no layer is trained: add a conv or dense layer"))
        if not active and self.layers:
            raise NetworkError("the feature layers only pool: add a conv or dense layer, or leave them out")
        if active and active[-1][1].activation not in BOUNDED:
            index, layer = active[-1]
            raise NetworkError(
                f"{self._place(index)}: the last activation is {layer.activation}, but "
                f"feature values are scaled to [-alpha, alpha]: use {' or '.join(BOUNDED)}"
            )

    def _check_pictures(self, takes: Input) -> None:
        """Raise NetworkError unless the backbone takes the images that the network ``takes``."""
        where = f"{self.where}[0] (backbone)"
        if not isinstance(takes, ImageInput) or takes.channels != COLOURS:
            raise NetworkError(
                f"{where}: a backbone takes coloured pictures: write channels = {COLOURS} in [input]"
            )
        if takes.image_max != BRIGHTEST:
            raise NetworkError(
                f"{where}: a backbone takes pixels from 0 to {BRIGHTEST}: leave out image_max in [input]"
            )

    def _place(self, index: int) -> str:
        """Return where trained layer ``index`` stands, for messages: a backbone before it counts."""
        return f"{self.where}[{index + (self.backbone is not None)}] ({self.layers[index].kind})"

    def _prefixed(self, text: str) -> str:
        return text if self.source is None else f"source {self.name!r}: {text}"


def check_sources(stacks: tuple[LayerStack, ...], learning_rate: float) -> None:
    """Check the sources of a network, whose layers are ``stacks``, against each other.

    Args:
        learning_rate: of their training.

    Raises:
        NetworkError: names the source, the limit and a remedy.
    """
    names = [stack.name for stack in stacks]
    if not 2 <= len(names) <= MAX_SOURCES:
        raise NetworkError(
            f"{len(names)} sources; 2 to {MAX_SOURCES} are allowed"
            + (": write the layers of the only one as [[features]]" if len(names) == 1 else "")
        )
    if doubled := next((name for name in names if names.count(name) > 1), None):
        raise NetworkError(f"two sources are called {doubled!r}: give each a name of its own")
    last = {stack.last_activation for stack in stacks}
    if len(last) > 1:
        listed = ", ".join(f"{stack.name} {stack.last_activation}" for stack in stacks)
        raise NetworkError(
            f"the last activations of the sources differ ({listed}): use the same one, tanh or sigmoid"
        )
    for stack in stacks:
        decay = stack.source.decay if stack.source else None
        if decay is not None and decay * learning_rate >= 1.0:
            raise NetworkError(
                f"source {stack.name!r}: decay {decay:g} at learning_rate {learning_rate:g} turns weights "
                f"around; use less than {1.0 / learning_rate:g}"
            )


def shape_after(layer: Spec, shape: Shape, where: str) -> Shape:
    """Return the shape after ``layer``, of ``shape`` before it; raise NetworkError that says ``where``."""
    if isinstance(layer, Dense | DenseUnits):
        return (layer.units,)
    if len(shape) != 3:
        raise NetworkError(
            f"{where} needs rows and columns, but the layer before has {shape[0]} units in a row"
        )
    channels, rows, columns = shape
    if isinstance(layer, Histogram):
        return (_bins(layer, channels, where),)
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


def weight_shapes(prefix: str, layer: Spec, before: Shape) -> dict[str, Shape]:
    """Return name and shape of the weights of ``layer``, of the shape ``before``; some layers have none."""
    if isinstance(layer, Conv | ConvUnits):
        weight: Shape = (layer.filters, before[0], layer.kernel, layer.kernel)
    elif isinstance(layer, Dense | DenseUnits):
        weight = (layer.units, math.prod(before))
    else:
        return {}
    return {f"{prefix}.weight": weight, f"{prefix}.bias": weight[:1]}


def _columns_shape(source: Source, takes: Input) -> Shape:
    columns = source.columns
    if columns is None:
        return takes.shape
    if not isinstance(takes, VectorInput):
        raise NetworkError(f"source {source.name!r}: columns are those of a vector: leave them out")
    if not columns[0] <= columns[1] < takes.values:
        raise NetworkError(
            f"source {source.name!r}: columns must be {_COLUMNS}, within the {takes.values} values of a "
            f"vector, 0 to {takes.values - 1}, not {list(columns)}"
        )
    return (columns[1] - columns[0] + 1,)


def _bins(layer: Histogram, channels: int, where: str) -> int:
    bins = int(layer.bins**channels)
    if bins > MAX_BINS:
        most = int(MAX_BINS ** (1 / channels) + 1e-9)
        raise NetworkError(
            f"{where}: {layer.bins} bins for each of {channels} colours are {bins}, at most {MAX_BINS} are "
            f"allowed: use {most} or fewer"
        )
    return bins


def _refuse_wider(window: int, rows: int, columns: int, where: str) -> None:
    if window > min(rows, columns):
        raise NetworkError(f"{where}: a {window} x {window} window does not fit into {rows} x {columns}")
