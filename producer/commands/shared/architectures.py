"""The layers and descriptions of networks that a command line names."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from schema.errors import NetworkError

if TYPE_CHECKING:
    from producer.images.imageset import ImageSet
    from producer.networks.description import Description
    from schema.network.architecture import Architecture


def architecture(name: str | None, file: Path | None) -> Architecture | None:
    """Return the layers in ``file``, also of an exported network, or of the preset ``name``, or None."""
    from producer.networks import description
    from schema.network.architecture import PRESETS, preset

    if name is not None and file is not None:
        raise typer.BadParameter(
            f"give a preset's NAME ({', '.join(PRESETS)}) or --architecture FILE, not both"
        )
    if file is not None:
        return description.read(file).architecture
    return None if name is None else preset(name)


def starter(images: ImageSet) -> Architecture:
    """Return layers for ``images``, and print to standard error that they were chosen."""
    from producer.networks.starter import architecture_of, starter_text
    from producer.reports.terminal import screen

    layers = architecture_of(starter_text(images))
    units = " + ".join(map(str, layers.sizes))
    screen().print(
        f"no architecture was given: network {layers.name!r} has layers for these images ({units} units); "
        "`annealq networks new` writes them to a file",
        markup=False,
        soft_wrap=True,
    )
    return layers


def described(name: str, architecture: str, classes: str | None, transfer: str | None) -> Description:
    """Return the description of a network to import as ``name``, from a preset or a file of layers.

    Args:
        name: of the network.
        architecture: a preset, or the path of a .toml or .json file.
        classes: their names with commas; None: those of the file, or their numbers.
        transfer: energy or paper; None: that of the file, or energy.
    """
    from producer.networks import description
    from schema.network.architecture import PRESETS, preset

    if architecture in PRESETS:
        found = description.describe(preset(architecture))
    elif Path(architecture).suffix in (".toml", ".json"):
        found = description.read(Path(architecture))
    else:
        raise NetworkError(
            f"{architecture}: an architecture is a .toml or .json file, or a preset: {', '.join(PRESETS)}"
        )
    names = None if classes is None else [part.strip() for part in classes.split(",")]
    return description.adapt(found, name, names, transfer)
