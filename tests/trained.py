"""Small networks that are really trained, on a few patterns, as files that could be shipped."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from producer.networks import bundle, description
from producer.networks.bundle import Bundle
from schema.network import weights
from schema.network.architecture import preset
from worker.network import training


def patterns(name: str, count: int = 40, seed: int = 0) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Noisy copies of one random pattern for each class, of the size that the preset takes, and labels."""
    layers = preset(name)
    rng = np.random.default_rng(seed)
    shape = layers.input.image_shape.sizes
    originals = rng.integers(0, 2, (layers.classes, *shape))
    labels = np.arange(count) % layers.classes
    flipped = originals[labels] ^ (rng.random((count, *shape)) < 0.02)
    return (flipped * layers.input.image_max).astype(np.uint8), labels


@lru_cache
def tiny(name: str, seed: int = 0) -> Bundle:
    """A preset's layers, trained for three epochs."""
    layers = preset(name)
    transfer = "paper" if layers.form == "deep" else "energy"
    trained = training.train(layers, *patterns(name), transfer, epochs=3, seed=seed)
    data = weights.encode(trained.weights, layers)
    metrics = {"own_accuracy": 0.5, "train_accuracy": None, "command": f"annealq networks train {name}"}
    known = description.describe(
        layers, transfer=transfer, seed=seed, epochs=3, metrics=metrics, weights_sha256=weights.digest(data)
    )
    return Bundle(known, data)


def ship(folder: Path, *names: str, seed: int = 0) -> None:
    """Write the files of such networks into a folder, as they stand in the package."""
    for name in names:
        bundle.save(tiny(name, seed), folder / f"{name}.safetensors")
