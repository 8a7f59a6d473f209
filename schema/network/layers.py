"""What a network is made of, as plain values: the input, its layers, and how it is trained.

Every value is checked when it is made; a mistake raises ``NetworkError`` and says which value, which
limit. No torch here: a specification travels as JSON.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, TypeVar

from schema.errors import NetworkError

ACTIVATIONS = ("relu", "sigmoid", "tanh")
BOUNDED = ("sigmoid", "tanh")


def whole(low: int, high: int, default: Any = dataclasses.MISSING) -> Any:
    """A dataclass field for a whole number from ``low`` to ``high``, both included."""
    return field(default=default, metadata={"kind": int, "low": low, "high": high})


def real(low: float, high: float, default: Any = dataclasses.MISSING) -> Any:
    """A dataclass field for a finite real number from ``low`` to ``high``, both included."""
    return field(default=default, metadata={"kind": float, "low": low, "high": high})


def choice(*names: str, default: Any = dataclasses.MISSING) -> Any:
    """A dataclass field for one of ``names``."""
    return field(default=default, metadata={"kind": str, "names": names})


def switch(default: bool) -> Any:
    """A dataclass field for true or false."""
    return field(default=default, metadata={"kind": bool})


class Spec:
    """Base of all specifications: checks the fields made by ``whole``, ``real``, ``choice``, ``switch``."""

    def __post_init__(self) -> None:
        for entry in dataclasses.fields(self):  # type: ignore[arg-type]
            if entry.metadata:
                _check(entry.name, getattr(self, entry.name), entry.metadata)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, every default spelt out; ``kind`` first where there are several kinds."""
        kind = getattr(self, "kind", None)
        values = {entry.name: getattr(self, entry.name) for entry in dataclasses.fields(self)}  # type: ignore[arg-type]
        return {"kind": kind, **values} if kind else values


def _check(name: str, value: object, limits: Mapping[str, Any]) -> None:
    kind = limits["kind"]
    if kind is bool:
        if not isinstance(value, bool):
            raise NetworkError(f"{name} must be true or false, not {value!r}")
    elif kind is str:
        if value not in limits["names"]:
            raise NetworkError(f"{name} must be one of {', '.join(limits['names'])}, not {value!r}")
    elif not is_number(value, kind) or not limits["low"] <= value <= limits["high"]:
        word = "a whole number" if kind is int else "a number"
        raise NetworkError(
            f"{name} must be {word} from {limits['low']:g} to {limits['high']:g}, not {value!r}"
        )


def is_number(value: object, kind: type) -> bool:
    """Whether ``value`` is a finite number (for ``int``: a whole one). True and False are not numbers."""
    if isinstance(value, bool) or not isinstance(value, int if kind is int else int | float):
        return False
    return kind is int or math.isfinite(as_float(value))


SpecT = TypeVar("SpecT", bound=Spec)


def read_spec(cls: type[SpecT], given: object, where: str) -> SpecT:
    """Make a ``cls`` from a mapping; keys not in ``cls`` are refused. ``where`` begins every message."""
    if not isinstance(given, Mapping):
        raise NetworkError(f"{where} must be a table of keys and values, not {type(given).__name__}")
    entries = {entry.name: entry for entry in dataclasses.fields(cls)}  # type: ignore[arg-type]
    values = {key: value for key, value in given.items() if key != "kind"}
    refuse_unknown(values, entries, where)
    for name, entry in entries.items():
        if name not in values and entry.default is dataclasses.MISSING:
            raise NetworkError(f"{where}: {name} is missing")
        if name in values and entry.metadata["kind"] is float and is_number(values[name], float):
            values[name] = as_float(values[name])
    try:
        return cls(**values)
    except NetworkError as error:
        raise NetworkError(f"{where}: {error}") from None


def as_float(value: int | float) -> float:
    """``value`` as a float; a whole number too large for one becomes infinite, which the limits refuse."""
    try:
        return float(value)
    except OverflowError:
        return math.inf


def refuse_unknown(given: Mapping[Any, Any], known: Mapping[str, Any], where: str) -> None:
    """Raise ``NetworkError`` for the first key of ``given`` that is not in ``known``."""
    for key in given:
        if key not in known:
            raise NetworkError(f"{where}: unknown key {key!r}; known keys are {', '.join(sorted(known))}")


@dataclass(frozen=True)
class Input(Spec):
    """Grey images ``(height, width) uint8``. A pixel p is read as p / image_max, so in [0, 1].

    ``average`` = a first replaces each a x a block by its mean (28 x 28 -> 14 x 14 for a = 2).
    """

    height: int = whole(1, 512)
    width: int = whole(1, 512)
    image_max: int = whole(1, 255, 255)
    average: int = whole(1, 64, 1)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.height % self.average or self.width % self.average:
            raise NetworkError(
                f"images of {self.height} x {self.width} pixels do not divide into blocks of "
                f"{self.average} x {self.average}"
            )

    @property
    def shape(self) -> tuple[int, int, int]:
        """(channels, rows, columns) of what the first layer sees."""
        return (1, self.height // self.average, self.width // self.average)


@dataclass(frozen=True)
class Conv(Spec):
    """A classical convolution: ``kernel`` x ``kernel``, with bias, then the activation."""

    kind: ClassVar[str] = "conv"
    filters: int = whole(1, 1024)
    kernel: int = whole(1, 64)
    stride: int = whole(1, 64, 1)
    padding: int = whole(0, 32, 0)
    activation: str = choice(*ACTIVATIONS, default="relu")


@dataclass(frozen=True)
class MaxPool(Spec):
    """Classical max pooling over ``size`` x ``size`` windows; rows or columns left over are dropped."""

    kind: ClassVar[str] = "max_pool"
    size: int = whole(2, 64)


@dataclass(frozen=True)
class Dense(Spec):
    """A classical fully connected layer, with bias, then the activation."""

    kind: ClassVar[str] = "dense"
    units: int = whole(1, 8192)
    activation: str = choice(*ACTIVATIONS, default="relu")


@dataclass(frozen=True)
class ConvUnits(Spec):
    """Hidden units of Q coupled to ``kernel`` x ``kernel`` windows; weights shared down Q's columns."""

    kind: ClassVar[str] = "conv"
    filters: int = whole(1, 1024)
    kernel: int = whole(1, 64)
    stride: int = whole(1, 64, 1)


@dataclass(frozen=True)
class PoolUnits(Spec):
    """Pooling units of Q: one per ``size`` x ``size`` block of each filter, coupled to it with alpha."""

    kind: ClassVar[str] = "pool"
    size: int = whole(2, 64)


@dataclass(frozen=True)
class DenseUnits(Spec):
    """Hidden units of Q, each coupled to every unit of the layer before."""

    kind: ClassVar[str] = "dense"
    units: int = whole(1, 4096)


FeatureLayer = Conv | MaxPool | Dense
UnitLayer = ConvUnits | PoolUnits | DenseUnits
FEATURE_LAYERS: Mapping[str, type[FeatureLayer]] = {"conv": Conv, "max_pool": MaxPool, "dense": Dense}
UNIT_LAYERS: Mapping[str, type[UnitLayer]] = {"conv": ConvUnits, "pool": PoolUnits, "dense": DenseUnits}


@dataclass(frozen=True)
class Training(Spec):
    """How a network is trained when nothing else is asked for.

    ``beta`` is the inverse temperature at the end of energy training (it grows from beta / 4), ``lam``
    the strength of the one-hot penalty, ``noise`` the standard deviation of the Gaussian noise on h and
    J as a fraction of their largest values, ``margin`` an energy by which the right class state must win,
    ``weight_bound`` the largest coupling to a class unit in units of alpha. ``shift``: images are
    moved by up to so many pixels; ``flips``: every image is joined by all its one-pixel flips.

    For energy training with hidden units: ``weight_bound`` bounds all couplings, ``beta`` does not grow;
    ``free`` is the share of the epochs, the last ones, in which visible units may differ from the pixels;
    ``threshold``, without feature layers, the pixel value above which a visible unit is on, at the start.
    """

    epochs: int = whole(1, 10_000, 20)
    batch_size: int = whole(1, 65_536, 128)
    learning_rate: float = real(1e-6, 1.0, 0.005)
    weight_decay: float = real(0.0, 1.0, 0.0)
    beta: float = real(0.01, 1000.0, 4.0)
    lam: float = real(0.001, 1000.0, 1.0)
    noise: float = real(0.0, 1.0, 0.02)
    margin: float = real(0.0, 1000.0, 1.0)
    weight_bound: float = real(0.01, 1000.0, 1.0)
    validation: float = real(0.0, 0.5, 0.1)
    patience: int = whole(1, 10_000, 10)
    shift: int = whole(0, 16, 0)
    flips: bool = switch(False)
    free: float = real(0.0, 1.0, 0.2)
    threshold: float = real(0.02, 0.98, 0.5)
