"""All that is known of a trained network but its weights, as an object of JSON:

format          "annealq-network-1"
architecture    as in a file of layers
classes         names of the classes
transfer        energy or paper
seed, epochs    that gave the weights, where known; or null
metrics         own_accuracy, train_accuracy and the command that made the network, where known; or null
weights_sha256  of the file of weights beside it
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from schema.errors import NetworkError
from schema.network.architecture import Architecture, read_table
from schema.network.layers import is_number, refuse_unknown
from schema.parameters import TRANSFERS

FORMAT = "annealq-network-1"

_KEYS = ("format", "architecture", "classes", "transfer", "seed", "epochs", "metrics", "weights_sha256")
_METRICS = ("own_accuracy", "train_accuracy", "command")
_MAX_NAME = 255  # a folder of images may name a class
_MAX_COMMAND = 1_000


@dataclass(frozen=True)
class Description:
    """Making one checks it: as many classes as the architecture has, each with a name of its own.

    metrics: accuracies in [0, 1] or None; ``command`` is one line.

    Raises:
        NetworkError: names the value that cannot be used.
    """

    architecture: Architecture
    classes: tuple[str, ...]
    transfer: str = "energy"
    seed: int | None = None
    epochs: int | None = None
    metrics: Mapping[str, Any] | None = None
    weights_sha256: str | None = None

    def __post_init__(self) -> None:
        _check_classes(self.classes, self.architecture)
        if self.transfer not in TRANSFERS:
            raise NetworkError(f"transfer must be {' or '.join(TRANSFERS)}, not {self.transfer!r}")
        for key, value in (("seed", self.seed), ("epochs", self.epochs)):
            if value is not None and (not is_number(value, int) or not 0 <= value < 2**63):
                raise NetworkError(f"{key} must be a whole number, 0 or above, or null, not {value!r}")
        if self.metrics is not None:
            _check_metrics(self.metrics)

    @property
    def training(self) -> dict[str, Any]:
        """What the row keeps about how the weights came about."""
        return {"transfer": self.transfer, "seed": self.seed, "epochs": self.epochs}

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON; ``from_dict`` gives back an equal description."""
        return {
            "format": FORMAT,
            "architecture": self.architecture.to_dict(),
            "classes": list(self.classes),
            **self.training,
            "metrics": None if self.metrics is None else dict(self.metrics),
            "weights_sha256": self.weights_sha256,
        }

    @classmethod
    def from_dict(cls, given: object) -> Description:
        """Read a description from plain values; unknown keys are refused.

        Raises:
            NetworkError: names what is missing or wrong.
        """
        if not isinstance(given, Mapping) or given.get("format") != FORMAT:
            raise NetworkError(f"not the description of a network: its format is not {FORMAT!r}")
        refuse_unknown(given, dict.fromkeys(_KEYS), "network")
        for key in ("architecture", "classes", "transfer"):
            if key not in given:
                raise NetworkError(f"network: {key} is missing")
        classes = given["classes"]
        if isinstance(classes, str) or not isinstance(classes, Sequence):
            raise NetworkError(f"classes must be a list of names, not {type(classes).__name__}")
        return cls(
            architecture=Architecture.from_dict(given["architecture"]),
            classes=tuple(classes),
            transfer=given["transfer"],
            seed=given.get("seed"),
            epochs=given.get("epochs"),
            metrics=given.get("metrics"),
            weights_sha256=given.get("weights_sha256"),
        )


def numbered(architecture: Architecture) -> Description:
    """Of a network of which no more is known; its classes are called by their numbers."""
    return Description(architecture, tuple(str(k) for k in range(architecture.classes)))


def read(path: Path) -> Description:
    """What a file describes: layers alone (.toml, .json), or a whole network as it was exported (.json).

    Raises:
        NetworkError: the file cannot be read, or describes no possible network; names it.
    """
    given = read_table(path)
    try:
        if isinstance(given, Mapping) and "format" in given:
            return Description.from_dict(given)
        return numbered(Architecture.from_dict(given))
    except NetworkError as error:
        raise NetworkError(f"{path}: {error}") from None


def _check_classes(classes: tuple[object, ...], architecture: Architecture) -> None:
    if len(classes) != architecture.classes:
        raise NetworkError(
            f"{len(classes)} classes are named; architecture {architecture.name!r} has {architecture.classes}"
        )
    for name in classes:
        if not isinstance(name, str) or not 1 <= len(name) <= _MAX_NAME or not name.isprintable():
            raise NetworkError(f"a class name has 1 to {_MAX_NAME} printable characters, not {name!r:.80}")
        if classes.count(name) > 1:
            raise NetworkError(f"two classes are called {name!r}; give each a name of its own")


def _check_metrics(metrics: object) -> None:
    if not isinstance(metrics, Mapping):
        raise NetworkError(f"metrics must be a table of keys and values, not {type(metrics).__name__}")
    refuse_unknown(metrics, dict.fromkeys(_METRICS), "metrics")
    for key in ("own_accuracy", "train_accuracy"):
        value = metrics.get(key)
        if value is not None and (not is_number(value, float) or not 0 <= value <= 1):
            raise NetworkError(f"metrics: {key} must be from 0 to 1, or null, not {value!r:.80}")
    command = metrics.get("command")
    if command is None:
        return
    if not isinstance(command, str) or len(command) > _MAX_COMMAND or not command.isprintable():
        raise NetworkError(f"metrics: command must be one line of at most {_MAX_COMMAND} characters")
