"""Trained networks that come with annealq: package data next to the presets' layers."""

from __future__ import annotations

from importlib.resources import files

from producer.networks import bundle
from producer.networks.bundle import SUFFIX, Bundle
from schema.network.architecture import PRESETS, preset
from schema.shapes import ImageShape

# A maintainer makes the files with `annealq networks export NAME --output NAME.safetensors`.
FOLDER = files("schema").joinpath("presets")

# Classify images of their size when no network is named. `conv358` is slower and taken only by name.
DEFAULTS = ("mnist", "digits", "digits5x5")


def names() -> tuple[str, ...]:
    """Return the presets that are shipped with weights."""
    return tuple(name for name in PRESETS if FOLDER.joinpath(name + SUFFIX).is_file())


def default_for(shape: ImageShape) -> str | None:
    """Return the shipped default for images of the height and width of ``shape``, or None."""
    for name in DEFAULTS:
        if not shape.is_vector and preset(name).input.image_shape.size == shape.size and name in names():
            return name
    return None


def load(name: str) -> Bundle:
    """Load the shipped network ``name``; raise NetworkError when its files are damaged."""
    return bundle.load(FOLDER, name)
