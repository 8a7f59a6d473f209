"""A trained network outside the database, as two files: NAME.safetensors and NAME.json."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from producer.files import replacing
from producer.networks.description import Description, describe
from producer.networks.versions import find_or_insert, insert_version
from schema.codecs import arrays
from schema.database import Database
from schema.errors import NetworkError, ParameterError
from schema.network import weights
from schema.network.architecture import PRESETS, Architecture, preset
from schema.parameters import Origin
from schema.states import NetworkState
from schema.tables import Network

if TYPE_CHECKING:
    from producer.networks.queries import NetworkSummary
from producer.enqueued import Enqueued

SUFFIX = ".safetensors"


@dataclass(frozen=True, eq=False)
class Bundle:
    """A network that is complete: ``data`` are its weights, checked and encoded."""

    description: Description
    data: bytes


def join(description: Description, path: Path) -> Bundle:
    """A description with the weights of a file. Metrics of other weights are left out.

    Raises:
        NetworkError: the weights cannot be read, do not fit the architecture, or are not finite.
    """
    architecture = description.architecture
    data = weights.encode(weights.read(path, architecture), architecture)
    if weights.digest(data) != description.weights_sha256:
        description = description.replace(metrics=None, seed=None, epochs=None)
    return Bundle(description, data)


def pack(network: NetworkSummary, data: bytes, trained_on: tuple[str, int] | None) -> Bundle:
    """A network of the database. ``trained_on``: name and number of its training images, where known."""
    architecture = Architecture.from_dict(network.architecture)
    command = (network.metrics or {}).get("command")
    if trained_on is not None:
        command = _command(architecture, network.training, *trained_on)
    metrics = {
        "own_accuracy": network.own_accuracy,
        "train_accuracy": network.train_accuracy,
        "command": command,
    }
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
    """Read NAME.json and NAME.safetensors.

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
    """Write the weights to ``path`` and the description beside it; returns the description's path.

    Raises:
        ParameterError: the suffix is another one, or a file cannot be written.
        StorageError: no space is left.
    """
    if path.suffix != SUFFIX:
        raise ParameterError(f"{path}: weights are written as NAME{SUFFIX}; name such a file")
    beside = path.with_suffix(".json")
    description = bundle.description.replace(weights_sha256=weights.digest(bundle.data))
    text = json.dumps(description.to_dict(), indent=2, ensure_ascii=False)
    with replacing(beside) as described, replacing(path) as held:
        described.write_text(text + "\n", encoding="utf-8")
        held.write_bytes(bundle.data)
    return beside


def install(database: Database, bundle: Bundle, origin: Origin) -> Enqueued:
    """Commit a ready network as the next version of its name, or find the row that has the same content."""
    described = bundle.description
    plan = {
        "architecture": described.architecture.to_dict(),
        "classes": list(described.classes),
        "training": {**described.training, "origin": origin.value},
    }
    values = {
        **plan,
        "name": described.architecture.name,
        "state": NetworkState.READY,
        "content_sha256": arrays.digest(arrays.canonical(plan), bundle.data),
        "height": described.architecture.input.height,
        "width": described.architecture.input.width,
        "weights": bundle.data,
        "weights_sha256": weights.digest(bundle.data),
        "metrics": described.metrics,
    }
    return find_or_insert(
        database, lambda session: _find_or_insert(session, values, origin, now=database.now(session))
    )


def _command(architecture: Architecture, training: Mapping[str, Any], data: str, images: int) -> str:
    """What trains this network again, given the same data, torch and number of threads."""
    name = architecture.name
    is_preset = name in PRESETS and architecture == preset(name)
    words = ["annealq", "networks", "train", *([name] if is_preset else ["--architecture", f"{name}.toml"])]
    words += ["--data", data, "--limit", str(images)]
    for option in ("transfer", "seed", "epochs"):
        if training[option] is not None:
            words += [f"--{option}", str(training[option])]
    return shlex.join(words)


def _find_or_insert(session: Session, values: dict[str, Any], origin: Origin, *, now: datetime) -> Enqueued:
    same = select(Network.id).where(Network.content_sha256 == values["content_sha256"])
    found = session.execute(same).scalar()
    if found is not None:
        # Bytes that differ under the digest of their content are damaged.
        held = {name: values[name] for name in ("weights", "weights_sha256")}
        session.execute(
            update(Network).where(Network.id == found, Network.weights != held["weights"]).values(held)
        )
        return Enqueued(found, created=False)
    row = {**values, "finished_at": now}
    return Enqueued(insert_version(session, row, now=now, why=origin.value), created=True)
