"""An architecture: which layers a network has, and what that means for its Q matrix. Pure arithmetic.

An image passes ``features`` (classical layers, may be none), which give the values of the visible
units. Then come the units of Q, layer by layer: visible units, the ``energy`` layers, class units.
"""

from __future__ import annotations

import json
import math
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

from schema.errors import NetworkError
from schema.network.layers import (
    BOUNDED,
    FEATURE_LAYERS,
    UNIT_LAYERS,
    Conv,
    ConvUnits,
    Dense,
    DenseUnits,
    FeatureLayer,
    Input,
    MaxPool,
    PoolUnits,
    Spec,
    SpecT,
    Training,
    UnitLayer,
    as_float,
    is_number,
    read_spec,
    refuse_unknown,
)

Shape = tuple[int, ...]
Form = Literal["head", "pooled", "deep"]

PRESETS = ("digits", "digits5x5", "mnist", "conv358")

# Larger than any annealer's graph today, small enough for a worker's memory.
MAX_LAYERS = 32
MAX_UNITS = 5_000
MAX_COUPLERS = 1_000_000
MAX_WEIGHTS = 20_000_000
MAX_ACTIVATIONS = 10_000_000
MAX_CLASSES = 256
MAX_ALPHA = 100.0
MAX_FILE_BYTES = 1_000_000


@dataclass(frozen=True)
class Architecture:
    """A network's layers. Making one checks its geometry.

    ``alpha``: feature values, which become the visible units' biases, are scaled to [-alpha, alpha].

    Raises:
        NetworkError: a layer does not fit the one before, or a limit is passed; names layer and sizes.
    """

    name: str
    input: Input
    classes: int
    alpha: float = 1.0
    features: tuple[FeatureLayer, ...] = ()
    energy: tuple[UnitLayer, ...] = ()
    training: Training = field(default_factory=Training)

    def __post_init__(self) -> None:
        if not _is_name(self.name):
            raise NetworkError(f"name must be 1 to 64 printable characters without @, not {self.name!r}")
        if not is_number(self.classes, int) or not 2 <= self.classes <= MAX_CLASSES:
            raise NetworkError(f"class layer: classes must be from 2 to {MAX_CLASSES}, not {self.classes!r}")
        if not is_number(self.alpha, float) or not 0 < self.alpha <= MAX_ALPHA:
            raise NetworkError(f"alpha must be above 0 and at most {MAX_ALPHA:g}, not {self.alpha!r}")
        if len(self.features) + len(self.energy) > MAX_LAYERS:
            raise NetworkError(
                f"{len(self.features) + len(self.energy)} layers; at most {MAX_LAYERS} are allowed"
            )
        self._check_features()
        self._check_units()

    def _check_features(self) -> None:
        if sum(math.prod(shape) for shape in self.feature_shapes) > MAX_ACTIVATIONS:
            raise NetworkError(
                f"the feature layers have over {MAX_ACTIVATIONS} values an image; use fewer filters"
            )
        if self.weights > MAX_WEIGHTS:
            raise NetworkError(f"{self.weights} weights; at most {MAX_WEIGHTS} are allowed: use fewer units")
        active = [
            (index, layer) for index, layer in enumerate(self.features) if not isinstance(layer, MaxPool)
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

    @cached_property
    def feature_shapes(self) -> tuple[Shape, ...]:
        """Shape after each feature layer: (channels, rows, columns) or (units,)."""
        shapes: list[Shape] = []
        shape: Shape = self.input.shape
        for index, layer in enumerate(self.features):
            shape = _shape_after(layer, shape, f"features[{index}] ({layer.kind})")
            shapes.append(shape)
        return tuple(shapes)

    @cached_property
    def unit_shapes(self) -> tuple[Shape, ...]:
        """Shape of each layer of Q: visible units, then the energy layers, then the class units."""
        shapes = [self.feature_shapes[-1] if self.features else self.input.shape]
        for index, layer in enumerate(self.energy):
            shapes.append(_shape_after(layer, shapes[-1], f"energy[{index}] ({layer.kind})"))
        return (*shapes, (self.classes,))

    @cached_property
    def sizes(self) -> tuple[int, ...]:
        """Units in each layer of Q, visible layer first, class layer last."""
        return tuple(math.prod(shape) for shape in self.unit_shapes)

    @property
    def visible(self) -> int:
        """Number of visible units, which is the number of feature values."""
        return self.sizes[0]

    @property
    def units(self) -> int:
        """Number of variables, Q's size, when the visible units are sampled."""
        return sum(self.sizes)

    @cached_property
    def couplers(self) -> tuple[int, ...]:
        """Couplers between each layer of Q and the next, and last those among the class units."""
        between = [
            _couplers(layer, self.unit_shapes[index], self.unit_shapes[index + 1])
            for index, layer in enumerate(self.energy)
        ]
        return (*between, self.sizes[-2] * self.classes, self.classes * (self.classes - 1) // 2)

    @property
    def density(self) -> float:
        """Couplers divided by the number of pairs of units, in [0, 1]."""
        return sum(self.couplers) / math.comb(self.units, 2)

    @cached_property
    def shapes(self) -> dict[str, Shape]:
        """Name and shape of every weight array, in the layout of torch.nn.Conv2d and torch.nn.Linear.

        Pooling units have no weights of their own, and class units no bias (the paper sets b = 0).
        """
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
        """Number of trained values."""
        return sum(math.prod(shape) for shape in self.shapes.values())

    @property
    def form(self) -> Form:
        """``head``: class units on visible units; ``pooled``: one pooling layer between; else ``deep``."""
        if not self.energy:
            return "head"
        return "pooled" if len(self.energy) == 1 and isinstance(self.energy[0], PoolUnits) else "deep"

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON; ``from_dict`` gives back an equal architecture."""
        return {
            "name": self.name,
            "input": self.input.to_dict(),
            "classes": self.classes,
            "alpha": self.alpha,
            "features": [layer.to_dict() for layer in self.features],
            "energy": [layer.to_dict() for layer in self.energy],
            "training": self.training.to_dict(),
        }

    def summary(self) -> dict[str, Any]:
        """What there is to show about the layers and Q, as plain JSON."""
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

    @classmethod
    def from_dict(cls, given: object) -> Architecture:
        """Read an architecture from plain values; unknown keys are refused.

        Raises:
            NetworkError: names the layer (index and kind), the value and the limit.
        """
        if not isinstance(given, Mapping):
            raise NetworkError(
                f"an architecture must be a table of keys and values, not {type(given).__name__}"
            )
        refuse_unknown(given, dict.fromkeys(cls.__dataclass_fields__), "architecture")
        for key in ("name", "input", "classes"):
            if key not in given:
                raise NetworkError(f"architecture: {key} is missing")
        alpha = given.get("alpha", 1.0)
        return cls(
            name=given["name"],
            input=read_spec(Input, given["input"], "input"),
            classes=given["classes"],
            alpha=as_float(alpha) if is_number(alpha, float) else alpha,
            features=_read_layers(FEATURE_LAYERS, given.get("features", ()), "features"),
            energy=_read_layers(UNIT_LAYERS, given.get("energy", ()), "energy"),
            training=read_spec(Training, given.get("training", {}), "training"),
        )


def load(path: Path) -> Architecture:
    """Read an architecture from a ``.toml`` or ``.json`` file.

    Raises:
        NetworkError: the file is missing, too large, not TOML or JSON, or describes no possible network.
    """
    given = read_table(path)
    try:
        return Architecture.from_dict(given)
    except NetworkError as error:
        raise NetworkError(f"{path}: {error}") from None


def read_table(path: Path) -> object:
    """The plain values of a ``.toml`` or ``.json`` file.

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
    """One of the architectures that are shipped: ``digits``, ``digits5x5``, ``mnist``, ``conv358``."""
    if name not in PRESETS:
        raise NetworkError(f"no preset {name!r}; there are {', '.join(PRESETS)}")
    text = files("schema").joinpath("presets", f"{name}.toml").read_text(encoding="utf-8")
    return Architecture.from_dict(tomllib.loads(text))


def _is_name(value: object) -> bool:
    # NAME@VERSION is how a version is asked for.
    return isinstance(value, str) and 1 <= len(value) <= 64 and value.isprintable() and "@" not in value


def _read_layers(kinds: Mapping[str, type[SpecT]], given: object, where: str) -> tuple[SpecT, ...]:
    if isinstance(given, str) or not isinstance(given, Sequence):
        raise NetworkError(f"{where} must be a list of layers, not {type(given).__name__}")
    return tuple(_read_layer(kinds, layer, f"{where}[{index}]") for index, layer in enumerate(given))


def _read_layer(kinds: Mapping[str, type[SpecT]], given: object, where: str) -> SpecT:
    kind = given.get("kind") if isinstance(given, Mapping) else None
    if not isinstance(kind, str) or kind not in kinds:
        raise NetworkError(f"{where}: kind must be one of {', '.join(kinds)}, not {kind!r}")
    return read_spec(kinds[kind], given, f"{where} ({kind})")


def _shape_after(layer: Spec, shape: Shape, where: str) -> Shape:
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
