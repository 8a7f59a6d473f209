"""Specifications of a network as plain values: the input, the layers, the training.

Every value is checked when a specification is read. No torch here: a specification travels as JSON.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
    model_validator,
)
from pydantic_core import ErrorDetails, PydanticCustomError

from schema.errors import NetworkError
from schema.shapes import BACKBONE_SIZES, COLOURS, MAX_SIDE, MAX_VALUES, ImageShape

Activation = Literal["relu", "sigmoid", "tanh"]
ClassWeights = Literal["equal", "balanced"]
Resize = Literal["crop", "pad", "stretch"]
BOUNDED = ("sigmoid", "tanh")

# Options of a training that came later, and their defaults.
_LATER: dict[str, Any] = {
    "h_persistent": 0.0,
    "h_random": 0.0,
    "j_persistent": 0.0,
    "dense_decay": 0.0,
    "batch_norm": None,
    "class_weights": "equal",
    "refit": False,
}
_ABSENT = object()
_GREY = (("kind", "image"), ("channels", 1), ("resize", None))
_TABLE = "a table of keys and values"
_WORDS: dict[Any, str] = {"integer": "a whole number", "number": "a number", "boolean": "true or false"}


class Spec(BaseModel):
    """Base of all specifications: frozen, strict about types, without unknown keys.

    Error messages name the limits of a field as its JSON schema has them, or its ``description``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    @classmethod
    def from_dict(cls, values: object) -> Self:
        """Read a specification from ``values``, plain TOML or JSON.

        Raises:
            NetworkError: names the layer (index and kind), the value and the limit.
        """
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise NetworkError(_first(error, cls.__name__.lower())) from None

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values, every default spelt out; ``from_dict`` reads them back."""
        return self.model_dump(mode="json")

    def replace(self, **changes: Any) -> Self:
        """Return a copy with ``changes``, checked as by ``from_dict``."""
        return self.from_dict({**{name: getattr(self, name) for name in type(self).model_fields}, **changes})

    @model_validator(mode="wrap")
    @classmethod
    def _name_the_limit(cls, values: Any, check: ModelWrapValidatorHandler[Self]) -> Self:
        try:
            return check(values)
        except ValidationError as error:
            # A misspelt key explains why another one is missing.
            first = min(error.errors(), key=lambda problem: problem["type"] != "extra_forbidden")
            if len(first["loc"]) != 1 or first["type"] == "explained":
                raise
        raise PydanticCustomError("explained", "{message}", {"message": cls._explain(first)})

    @classmethod
    def _explain(cls, problem: ErrorDetails) -> str:
        """Return what is wrong with one field, and its limits."""
        name, value = str(problem["loc"][0]), problem["input"]
        shown = type(value).__name__ if problem["type"] in ("model_type", "tuple_type") else f"{value!r:.80}"
        if problem["type"] == "extra_forbidden":
            return f"unknown key {name!r}; known keys are {', '.join(sorted({*cls.model_fields} - {'kind'}))}"
        if problem["type"] == "missing":
            return f"{name} is missing"
        return f"{name} must be {_wanted(cls.model_json_schema()['properties'][name])}, not {shown}"


class ImageInput(Spec):
    """Grey images ``(height, width)`` or coloured ones ``(height, width, 3)``, uint8.

    A pixel p is read as p / image_max, so in [0, 1]. ``average`` = a first replaces each a x a block by its
    mean (28 x 28 -> 14 x 14 for a = 2). ``resize`` says how images of another size are brought to this one;
    None: they are refused.
    """

    kind: Literal["image"] = "image"
    height: int = Field(ge=1, le=MAX_SIDE)
    width: int = Field(ge=1, le=MAX_SIDE)
    channels: Literal[1, 3] = Field(1, description=f"1 (grey) or {COLOURS} (colour)")
    image_max: int = Field(255, ge=1, le=255)
    average: int = Field(1, ge=1, le=64)
    resize: Resize | None = Field(None, description=f"one of {', '.join(get_args(Resize))}")

    @model_validator(mode="after")
    def _check_blocks(self) -> Self:
        if self.height % self.average or self.width % self.average:
            raise NetworkError(
                f"input: images of {self.height} x {self.width} pixels do not divide into blocks of "
                f"{self.average} x {self.average}"
            )
        return self

    @model_serializer(mode="wrap")
    def _leave_out_defaults(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # Networks for grey images have the digests that they had before there were others.
        return {name: value for name, value in dump(self).items() if (name, value) not in _GREY}

    @property
    def shape(self) -> tuple[int, int, int]:
        """Return (channels, rows, columns) of what the first layer sees."""
        return (self.channels, self.height // self.average, self.width // self.average)

    @property
    def image_shape(self) -> ImageShape:
        """Return the shape of an image that is taken."""
        return ImageShape.image(self.height, self.width, self.channels)


class VectorInput(Spec):
    """Vectors ``(values,)`` float32, features that another program computed for example.

    Training standardises each value; the first dense layer holds that, so that nothing else is stored.
    """

    kind: Literal["vector"]
    values: int = Field(ge=1, le=MAX_VALUES)

    @property
    def shape(self) -> tuple[int]:
        """Return the shape of what the first layer sees."""
        return (self.values,)

    @property
    def image_shape(self) -> ImageShape:
        """Return the shape of an image that is taken: a vector."""
        return ImageShape.vector(self.values)


Input = ImageInput | VectorInput
INPUTS = "a table of keys and values whose kind is image or vector"


def with_kind(values: Any) -> Any:
    """Return the plain ``values`` of an input with their ``kind``; without one they are those of images."""
    return {"kind": "image", **values} if isinstance(values, dict) else values


def read_input(values: dict[str, Any]) -> Input:
    """Return the input of a stored architecture, whose ``values`` were checked when it was stored."""
    kind = VectorInput if with_kind(values)["kind"] == "vector" else ImageInput
    return kind.from_dict(values)


def _known_size(size: int) -> int:
    if size not in BACKBONE_SIZES:
        raise ValueError  # the message is made of the field's description
    return size


_Mean = Annotated[float, Field(ge=-1000.0, le=1000.0)]
_Std = Annotated[float, Field(ge=0.001, le=1000.0)]


class FrozenBackbone(Spec):
    """A pretrained network that turns coloured pictures into vectors, and is not trained; always the first.

    Its file is found by its digest. Pictures are resized to ``size`` x ``size`` pixels p, 0 to 255, of which
    it takes (p - mean) / std by channel. Training standardises each value of its vectors, as for vectors.
    """

    kind: Literal["backbone"] = "backbone"
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$", description="the SHA-256 of an imported backbone's file")
    size: Annotated[int, AfterValidator(_known_size)] = Field(
        description=f"one of {', '.join(map(str, BACKBONE_SIZES))}"
    )
    values: int = Field(ge=1, le=MAX_VALUES)
    mean: tuple[_Mean, _Mean, _Mean] = Field(strict=False, description="three numbers from -1000 to 1000")
    std: tuple[_Std, _Std, _Std] = Field(strict=False, description="three numbers from 0.001 to 1000")


class Conv(Spec):
    """A classical convolution: ``kernel`` x ``kernel``, with bias, then the activation."""

    kind: Literal["conv"] = "conv"
    filters: int = Field(ge=1, le=1024)
    kernel: int = Field(ge=1, le=64)
    stride: int = Field(1, ge=1, le=64)
    padding: int = Field(0, ge=0, le=32)
    activation: Activation = "relu"


class MaxPool(Spec):
    """Classical max pooling over ``size`` x ``size`` windows; rows or columns left over are dropped."""

    kind: Literal["max_pool"] = "max_pool"
    size: int = Field(ge=2, le=64)


class Histogram(Spec):
    """A colour histogram: the share of the pixels in each of ``bins`` equal ranges of each colour, jointly.

    It has bins ^ 3 values of a coloured image, and ``bins`` of a grey one. Always the first layer. Training
    standardises each value, as for vectors.
    """

    kind: Literal["histogram"] = "histogram"
    bins: int = Field(ge=2, le=256)


class Dense(Spec):
    """A classical fully connected layer, with bias, then the activation."""

    kind: Literal["dense"] = "dense"
    units: int = Field(ge=1, le=8192)
    activation: Activation = "relu"


class ConvUnits(Spec):
    """Hidden units of Q coupled to ``kernel`` x ``kernel`` windows; weights shared down Q's columns."""

    kind: Literal["conv"] = "conv"
    filters: int = Field(ge=1, le=1024)
    kernel: int = Field(ge=1, le=64)
    stride: int = Field(1, ge=1, le=64)


class PoolUnits(Spec):
    """Pooling units of Q: one per ``size`` x ``size`` block of each filter, coupled to it with alpha."""

    kind: Literal["pool"] = "pool"
    size: int = Field(ge=2, le=64)


class DenseUnits(Spec):
    """Hidden units of Q, each coupled to every unit of the layer before."""

    kind: Literal["dense"] = "dense"
    units: int = Field(ge=1, le=4096)


FeatureLayer = Conv | MaxPool | Dense | Histogram | FrozenBackbone
UnitLayer = ConvUnits | PoolUnits | DenseUnits
FeatureLayers = tuple[Annotated[FeatureLayer, Field(discriminator="kind")], ...]
UnitLayers = tuple[Annotated[UnitLayer, Field(discriminator="kind")], ...]


class Training(Spec):
    """Defaults for how a network is trained.

    Attributes:
        epochs: the most passes over the images.
        batch_size: images a step.
        learning_rate: of the optimiser.
        weight_decay: of the optimiser, for all weights.
        dense_decay: of the optimiser, for the weights of the first dense feature layer in place of the
            former. A step shrinks them by learning_rate * dense_decay of themselves.
        batch_norm: batch normalisation of the feature layers; by default for images, and not for vectors.
        class_weights: "equal" for each image, or "balanced" for each class: images of a rare class count as
            much more as they are rarer, up to ten times.
        refit: the network is trained again on all images, to the last epoch, or to the best one if patience
            ended the first training. The figures remain those of the first one, on images held out.
        beta: inverse temperature at the end of energy training; it grows from beta / 4.
        lam: strength of the one-hot penalty.
        noise: standard deviation of the Gaussian noise on h and J, as a fraction of their largest values.
        h_persistent: standard deviation of a chip's errors of h that all images share, in the chip's units.
        h_random: the same of those that differ from image to image.
        j_persistent: the same of its errors of J, which all images share.
        margin: energy by which the right class state must win.
        weight_bound: largest coupling to a class unit, in units of alpha.
        validation: share of the images that is held out.
        patience: epochs without progress after which training stops.
        shift: images are moved by up to this many pixels.
        flips: every image is joined by all its one-pixel flips.
        free: share of the epochs, the last ones, in which visible units may differ from the pixels.
        threshold: without feature layers, the pixel value above which a visible unit is on, at the start.

    ``free`` and ``threshold`` belong to energy training with hidden units. There ``weight_bound`` bounds all
    couplings, and ``beta`` does not grow.
    """

    epochs: int = Field(20, ge=1, le=10_000)
    batch_size: int = Field(128, ge=1, le=65_536)
    learning_rate: float = Field(0.005, ge=1e-6, le=1.0)
    weight_decay: float = Field(0.0, ge=0.0, le=1.0)
    beta: float = Field(4.0, ge=0.01, le=1000.0)
    lam: float = Field(1.0, ge=0.001, le=1000.0)
    noise: float = Field(0.02, ge=0.0, le=1.0)
    h_persistent: float = Field(0.0, ge=0.0, le=1.0)
    h_random: float = Field(0.0, ge=0.0, le=1.0)
    j_persistent: float = Field(0.0, ge=0.0, le=1.0)
    margin: float = Field(1.0, ge=0.0, le=1000.0)
    weight_bound: float = Field(1.0, ge=0.01, le=1000.0)
    validation: float = Field(0.1, ge=0.0, le=0.5)
    patience: int = Field(10, ge=1, le=10_000)
    shift: int = Field(0, ge=0, le=16)
    flips: bool = False
    free: float = Field(0.2, ge=0.0, le=1.0)
    threshold: float = Field(0.5, ge=0.02, le=0.98)
    dense_decay: float = Field(0.0, ge=0.0, le=1000.0)
    batch_norm: bool | None = Field(None, description="true or false")
    class_weights: ClassWeights = "equal"
    refit: bool = False

    @model_validator(mode="after")
    def _check_decay(self) -> Self:
        if self.learning_rate * max(self.dense_decay, self.weight_decay) >= 1.0:
            raise NetworkError(
                f"training: dense_decay {self.dense_decay:g} at learning_rate {self.learning_rate:g} turns "
                f"weights around; use less than {1.0 / self.learning_rate:g}"
            )
        return self

    @model_serializer(mode="wrap")
    def _leave_out_later(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # Networks without these options have the digests that they had before there were any.
        return {name: value for name, value in dump(self).items() if _LATER.get(name, _ABSENT) != value}


def _wanted(schema: dict[str, Any]) -> str:
    if "description" in schema:
        return str(schema["description"])
    if "enum" in schema:
        return f"one of {', '.join(schema['enum'])}"
    limits = f" from {schema['minimum']:g} to {schema['maximum']:g}" if "minimum" in schema else ""
    return _WORDS.get(schema.get("type"), _TABLE) + limits


def _first(error: ValidationError, root: str) -> str:
    """Return one line for the first problem: the layer (index and kind), what is wrong, the limit."""
    problem = error.errors()[0]
    place, value, message = _place(problem["loc"]) or root, problem["input"], problem["msg"]
    match problem["type"]:
        case "model_type":
            return f"{place} must be {_TABLE}, not {type(value).__name__}"
        case "union_tag_invalid" | "union_tag_not_found" | "model_attributes_type":
            layers = FeatureLayer if problem["loc"][-2] == "features" else UnitLayer
            kinds = ", ".join(layer.model_fields["kind"].default for layer in get_args(layers))
            kind = value.get("kind") if isinstance(value, dict) else None
            return f"{place}: kind must be one of {kinds}, not {kind!r:.80}"
    return message if not problem["loc"] and " must be " in message else f"{place}: {message}"


def _place(path: tuple[int | str, ...]) -> str:
    """Return where a value stands, as in ``energy[0] (conv)``."""
    place = ""
    for before, part in pairwise(("", *path)):
        if isinstance(part, int):
            place += f"[{part}]"
        elif isinstance(before, int):
            place += ": features" if part == "features" else f" ({part})"
        elif before == "input":
            continue  # its kind says no more than the keys
        else:
            place += f": {part}" if place else part
    return place
