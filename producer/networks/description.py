"""A description of a network without its weights, as a JSON object:

format          "annealq-network-1"
architecture    as in a file of layers
classes         names of the classes
transfer        energy or paper
seed, epochs    that gave the weights; unknown: null
metrics         own_accuracy, train_accuracy, balanced_accuracy and auc if classes are unbalanced, the
                temperature of its probabilities and the command that made the network; unknown: null
weights_sha256  of the file of weights that belongs to it
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, field_validator, model_validator

from schema.errors import NetworkError
from schema.network.architecture import Architecture, read_table
from schema.network.layers import Spec
from schema.network.source_table import SourceTable
from schema.network.temperature import Temperature
from schema.quantities import count_text

FORMAT = "annealq-network-1"

_MAX_NAME = 255  # a folder of images may name a class
_MAX_COMMAND = 1_000


def _check_line(text: str) -> str:
    if len(text) > _MAX_COMMAND or not text.isprintable():
        raise ValueError
    return text


_Share = Annotated[float | None, Field(ge=0, le=1, description="from 0 to 1, or null")]
_Number = Annotated[int | None, Field(ge=0, lt=2**63, description="a whole number, 0 or above, or null")]
_Line = Annotated[str, AfterValidator(_check_line)]


class _Metrics(Spec):
    own_accuracy: _Share = None
    train_accuracy: _Share = None
    balanced_accuracy: _Share = None
    auc: _Share = None
    temperature: Temperature | None = None
    sources: SourceTable | None = None
    command: _Line | None = Field(None, description=f"one line of at most {_MAX_COMMAND} characters")


class Description(Spec):
    """A network: as many classes as the architecture has, each with a name of its own."""

    format: Literal["annealq-network-1"]
    architecture: Architecture
    classes: tuple[Any, ...] = Field(strict=False, description="a list of names")
    transfer: Literal["energy", "paper"] = Field(description="energy or paper")
    seed: _Number = None
    epochs: _Number = None
    metrics: dict[str, Any] | None = None
    weights_sha256: str | None = Field(None, description="hexadecimal digits, or null")

    @field_validator("metrics")
    @classmethod
    def _check_metrics(cls, metrics: dict[str, Any] | None) -> dict[str, Any] | None:
        if metrics is not None:
            _Metrics.model_validate(metrics)
        return metrics

    @model_validator(mode="after")
    def _check_classes(self) -> Self:
        number = len(self.classes)
        if number != self.architecture.classes:
            wanted = f"architecture {self.architecture.name!r} has {self.architecture.classes}"
            raise NetworkError(f"it names {count_text(number, 'class')}; {wanted}")
        for name in self.classes:
            if not isinstance(name, str) or not 1 <= len(name) <= _MAX_NAME or not name.isprintable():
                raise NetworkError(
                    f"a class name has 1 to {_MAX_NAME} printable characters, not {name!r:.80}"
                )
            if self.classes.count(name) > 1:
                raise NetworkError(f"two classes are called {name!r}; give each a name of its own")
        return self

    @property
    def training(self) -> dict[str, Any]:
        """Return what the network's row stores about how the weights were trained."""
        return {"transfer": self.transfer, "seed": self.seed, "epochs": self.epochs}


def describe(architecture: Architecture, classes: Sequence[str] | None = None, **values: Any) -> Description:
    """Return the description of a network: its ``architecture``, ``classes`` and further ``values``.

    Without ``classes`` they are called by their numbers. Raise NetworkError as ``Description.from_dict``.
    """
    names = list(map(str, range(architecture.classes))) if classes is None else classes
    values = {"transfer": "energy", **values}
    return Description.from_dict({"format": FORMAT, "architecture": architecture, "classes": names, **values})


def read(path: Path) -> Description:
    """Read a file of layers (.toml, .json), or of a whole network as it was exported (.json), from ``path``.

    Raises:
        NetworkError: the file cannot be read, or describes no possible network; names it.
    """
    values = read_table(path)
    try:
        return parse(values)
    except NetworkError as error:
        raise NetworkError(f"{path}: {error}") from None


def parse(values: object) -> Description:
    """Return the network that ``values`` describe, layers alone or a whole network; raise NetworkError."""
    if isinstance(values, dict) and "format" in values:
        return Description.from_dict(values)
    return describe(Architecture.from_dict(values))


def adapt(
    found: Description, name: str | None, classes: Sequence[str] | None, transfer: str | None
) -> Description:
    """Return ``found`` with another ``name``, ``classes`` or ``transfer``, where they are not None.

    Raises:
        NetworkError: as `Description` does.
    """
    if transfer not in (None, found.transfer):
        # Its metrics were measured with the other transfer.
        found = found.replace(transfer=transfer, weights_sha256=None)
    layers = found.architecture if name is None else found.architecture.replace(name=name)
    return found.replace(architecture=layers, classes=found.classes if classes is None else tuple(classes))
