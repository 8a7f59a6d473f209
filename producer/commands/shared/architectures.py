"""The layers and descriptions of networks that a command line names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from producer.commands.shared.reading import read
from producer.images.preprocessing import DifferentSizesError, Fit
from producer.networks.starter import starter_side
from schema.errors import NetworkError

if TYPE_CHECKING:
    from producer.backbones.queries import BackboneSummary
    from producer.images.imageset import ImageSet
    from producer.images.preprocessing import Preprocessing
    from producer.networks.description import Description
    from schema.network.architecture import Architecture
    from schema.network.layers import Resize


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


def read_for_training(
    data: str,
    labels: Path | None,
    limit: int | None,
    preprocessing: Preprocessing,
    layers: Architecture | None,
) -> tuple[ImageSet, Architecture]:
    """Return the images of ``data``, read as `read` does for the network of ``layers``, and its layers.

    Without ``layers``, they are those of `starter`.
    """
    if layers is not None:
        return read(data, labels, limit, preprocessing, lambda _differ: layers.input), layers
    only = _only_backbone()
    images, resize = read_for_starter(data, labels, limit, preprocessing, only)
    return images, starter(images, resize, only if images.shape.is_colour else ())


def read_for_starter(
    data: str,
    labels: Path | None,
    limit: int | None,
    preprocessing: Preprocessing,
    backbones: Sequence[BackboneSummary] = (),
) -> tuple[ImageSet, Resize | None]:
    """Return the images of ``data``, read as `read` does, and how a network is to resize pictures.

    Pictures of different sizes are cropped to a square: the largest of those of ``backbones``, or one that
    suits the smallest picture seen.
    """
    try:
        return read(data, labels, limit, preprocessing), None
    except DifferentSizesError as error:
        side = max((backbone.size for backbone in backbones), default=starter_side(error.side))
        cropped = replace(preprocessing, size=(side, side), fit=Fit.CROP, exact=True)
        images = read(data, labels, limit, cropped)
        origin = None if images.origin is None else replace(images.origin, resize=None, fit=None)
        return replace(images, origin=origin), "crop"


def starter(
    images: ImageSet, resize: Resize | None, backbones: Sequence[BackboneSummary] = ()
) -> Architecture:
    """Return layers for ``images`` after ``backbones``, and print to standard error that they were chosen.

    ``resize`` says how the network is to resize pictures of other sizes, if it is.
    """
    from producer.networks.starter import architecture_of, starter_text
    from producer.reports.terminal import screen

    layers = architecture_of(starter_text(images, resize=resize, backbones=backbones))
    units = " + ".join(map(str, layers.sizes))
    after = "".join(f" after backbone {backbone.name!r}" for backbone in backbones)
    screen().print(
        f"no architecture was given: network {layers.name!r} has layers for these images{after} "
        f"({units} units); "
        "`annealq networks new` writes them to a file",
        markup=False,
        soft_wrap=True,
    )
    return layers


def backbones_named(names: Sequence[str]) -> list[BackboneSummary]:
    """Return the backbones of these ``names``; raise NotFound if there is none of one of them."""
    from producer.backbones.queries import backbone_by_name
    from producer.context import database

    if not names:
        return []
    with database() as opened, opened.reading() as session:
        return [backbone_by_name(session, name) for name in names]


def _only_backbone() -> Sequence[BackboneSummary]:
    """Return the backbone that was imported, if it is the only one; a home without a database has none."""
    from producer.backbones.queries import backbones
    from producer.commands.shared.session import is_missing
    from producer.context import database
    from schema.settings import load

    if is_missing(settings := load()):
        return ()
    with database(settings) as opened, opened.reading() as session:
        found = backbones(session)
    return found if len(found) == 1 else ()


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
