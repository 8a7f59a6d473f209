"""A trained network outside the database, as two files: NAME.safetensors and NAME.json."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass, replace
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from producer.files import replacing
from producer.networks.description import Description, describe
from schema.errors import NetworkError, ParameterError
from schema.network import weights
from schema.network.architecture import PRESETS, Architecture, preset

if TYPE_CHECKING:
    from producer.networks.queries import NetworkSummary, TrainedOn

SUFFIX = ".safetensors"


@dataclass(frozen=True, eq=False)
class Bundle:
    """A complete network; ``data`` holds its weights, checked and encoded."""

    description: Description
    data: bytes


def join(description: Description, path: Path) -> Bundle:
    """Join ``description`` with the weights in the file ``path``; drop metrics of other weights.

    Raises:
        NetworkError: the weights cannot be read, do not fit the architecture, or are not finite.
    """
    architecture = description.architecture
    data = weights.encode(weights.read(path, architecture), architecture)
    if weights.digest(data) != description.weights_sha256:
        description = description.replace(metrics=None, seed=None, epochs=None)
    return Bundle(description, data)


def pack(network: NetworkSummary, data: bytes, trained_on: TrainedOn | None) -> Bundle:
    """Pack a ``network`` of the database with its weights ``data``, and what it was ``trained_on``, if known.

    The command that trains it again names files without their folders, since it is read elsewhere.
    """
    architecture = Architecture.from_dict(network.architecture)
    if trained_on is not None and (origin := trained_on.origin) is not None:
        labels = None if origin.labels is None else Path(origin.labels).name
        elsewhere = replace(origin, data=Path(origin.data).name, labels=labels)
        trained_on = replace(trained_on, origin=elsewhere)
    command = training_command(network, trained_on)
    metrics: dict[str, Any] = {
        "own_accuracy": network.own_accuracy,
        "train_accuracy": network.train_accuracy,
        "command": command,
    }
    balance = {"balanced_accuracy": network.balanced_accuracy, "auc": network.auc}
    metrics |= {name: value for name, value in balance.items() if value is not None}
    for name in ("temperature", "sources"):
        if (stored := (network.metrics or {}).get(name)) is not None:
            metrics[name] = stored
    described = describe(
        architecture,
        network.classes,
        transfer=network.training["transfer"],
        seed=network.training["seed"],
        epochs=network.training["epochs"],
        metrics=metrics if any(value is not None for value in metrics.values()) else None,
        weights_sha256=weights.digest(data),
    )
    return Bundle(described, data)


def load(folder: Traversable, name: str) -> Bundle:
    """Read the files ``name``.json and ``name``.safetensors in ``folder``.

    Raises:
        NetworkError: a file is missing or damaged, or they do not belong together.
    """
    try:
        given = json.loads(folder.joinpath(f"{name}.json").read_text(encoding="utf-8"))
        data = folder.joinpath(name + SUFFIX).read_bytes()
        description = Description.from_dict(given)
        weights.decode(data, description.architecture)
    except (OSError, ValueError, NetworkError) as error:
        raise NetworkError(f"network {name!r} cannot be read: {error}") from error
    if weights.digest(data) != description.weights_sha256:
        raise NetworkError(f"network {name!r} cannot be read: {name}.json was made for other weights")
    return Bundle(description, data)


def save(bundle: Bundle, path: Path) -> Path:
    """Write the weights of ``bundle`` to ``path``, its description next to them; return the latter's path.

    Raises:
        ParameterError: the suffix is wrong, or a file cannot be written.
        StorageError: no space is left.
    """
    if path.suffix != SUFFIX:
        raise ParameterError(f"{path}: weights are written as NAME{SUFFIX}: use that suffix")
    description_path = path.with_suffix(".json")
    description = bundle.description.replace(weights_sha256=weights.digest(bundle.data))
    text = json.dumps(description.to_dict(), indent=2, ensure_ascii=False)
    with replacing(description_path) as described, replacing(path) as weights_file:
        described.write_text(text + "\n", encoding="utf-8")
        weights_file.write_bytes(bundle.data)
    return description_path


def training_command(network: NetworkSummary, trained_on: TrainedOn | None) -> str | None:
    """Return the command that trains ``network`` again, given the same data, torch and number of threads.

    Layers of a user's own are read from the .json file that `networks export` writes.

    Returns:
        None: the images that it was ``trained_on`` are not known.
    """
    if trained_on is None:
        command: str | None = (network.metrics or {}).get("command")
        return command
    origin = trained_on.origin
    file = f"{network.name}.json"
    layers = [network.architecture["name"]] if _is_preset(network) else ["--architecture", file]
    words = ["annealq", "networks", "train", *layers]
    if origin is None:
        words += ["--data", trained_on.name, "--limit", str(trained_on.count)]
    else:
        words += ["--data", origin.data, *origin.options()]
    for option in ("transfer", "seed", "epochs"):
        if network.training[option] is not None:
            words += [f"--{option}", str(network.training[option])]
    return shlex.join(words)


def made_by(network: NetworkSummary, trained_on: TrainedOn | None) -> list[str]:
    """Return the commands that train ``network``, ``trained_on`` that, again on this machine."""
    command = training_command(network, trained_on)
    if command is None:
        return []
    if trained_on is None or _is_preset(network):
        return [command]
    return [f"annealq networks export {network.pinned} --output {network.name}{SUFFIX}", command]


def _is_preset(network: NetworkSummary) -> bool:
    architecture = Architecture.from_dict(network.architecture)
    return architecture.name in PRESETS and architecture == preset(architecture.name)
