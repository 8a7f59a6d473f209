"""Networks as text."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from producer.calibration.queries import CalibrationSummary
from producer.networks import queries
from producer.reports.calibration import calibrations_table
from producer.reports.terminal import new_grid, new_table
from schema.network import temperature
from schema.network.architecture import Architecture
from schema.network.layers import Input, VectorInput
from schema.quantities import count_text


def networks_table(networks: list[queries.NetworkSummary]) -> Table:
    """Return the table of `networks list`."""
    columns = ("network", "origin", "state", "images", "classes", "transfer", "own accuracy", "ready")
    first_out = ("transfer", "classes", "ready", "origin", "own accuracy", "images")
    table = new_table(*columns, right=("classes", "own accuracy"), first_out=first_out)
    for network in networks:
        accuracy = network.own_accuracy
        table.add_row(
            f"{network.pinned} (default)" if network.is_default else network.pinned,
            network.origin,
            network.state,
            network.image_shape.short,
            str(len(network.classes)),
            network.training["transfer"],
            "" if accuracy is None else f"{accuracy:.2%}",
            "" if network.finished_at is None else f"{network.finished_at.astimezone():%Y-%m-%d %H:%M}",
        )
    return table


def _taken(takes: Input) -> str:
    """Return what a network takes, in words."""
    if isinstance(takes, VectorInput):
        return takes.image_shape.words
    colour = ", red, green and blue" if takes.image_shape.is_colour else ""
    resized = "" if takes.resize is None else f"; others are resized ({takes.resize})"
    return f"{takes.height} x {takes.width} pixels, 0 to {takes.image_max}{colour}{resized}"


def network_text(
    network: queries.NetworkSummary, calibrations: Sequence[CalibrationSummary] = ()
) -> RenderableType:
    """Return the text of `networks show`: ``network`` and its ``calibrations``."""
    architecture = Architecture.from_dict(network.architecture)
    about = new_grid()
    about.add_row("network", f"{network.name}@{network.version}, {network.origin}, {network.state}")
    about.add_row("images", _taken(architecture.input))
    about.add_row("classes", ", ".join(network.classes))
    seed = network.training["seed"]
    about.add_row("transfer", network.training["transfer"] + ("" if seed is None else f", seed {seed}"))
    about.add_row(
        "Q matrix",
        f"{count_text(architecture.units, 'unit')} ({' + '.join(map(str, architecture.sizes))}), "
        f"{count_text(sum(architecture.couplers), 'coupler')}, density {architecture.density:.1%}",
    )
    about.add_row("weights", f"{architecture.weights:,}, sha256 {network.weights_sha256 or 'none yet'}")
    if network.own_accuracy is not None:
        about.add_row("own accuracy", f"{network.own_accuracy:.2%} on images held out during training")
    elif network.train_accuracy is not None:
        about.add_row("own accuracy", f"{network.train_accuracy:.2%} on the images it was trained on")
    about.add_row("probabilities", temperature.describe(network.metrics))
    layers = new_table(
        "part", "kind", "shape", "units", right=("units",), title="layers", first_out=("shape",)
    )
    summary = architecture.summary()
    for part, key in (("features", "features"), ("Q", "units")):
        for layer in summary[key]:
            shape = layer["shape"]
            layers.add_row(part, layer["kind"], " x ".join(map(str, shape)), f"{math.prod(shape):,}")
    parts: list[RenderableType] = [about, layers]
    if calibrations:
        parts.append(calibrations_table(calibrations))
    if network.error:
        parts.append(Text(network.error, style="red"))
    return Group(*parts)
