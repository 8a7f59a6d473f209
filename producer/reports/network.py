"""Networks and backbones as text."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from producer.backbones.queries import BackboneSummary
from producer.calibration.queries import CalibrationSummary
from producer.networks import queries
from producer.networks.queries import NetworkSources
from producer.reports.calibration import calibrations_table
from producer.reports.terminal import new_grid, new_table
from schema.network import temperature
from schema.network.architecture import Architecture
from schema.network.layers import Input, VectorInput
from schema.network.reliability import stored_losses
from schema.quantities import count_text

_SHOWN_DISPUTES = 5


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
    for row in _training_rows(network):
        about.add_row(*row)
    about.add_row("probabilities", temperature.describe(network.metrics))
    if (losses := stored_losses(network.metrics)) is not None:
        about.add_row("", f"{losses}, of the images of its own accuracy")
    layers = new_table(
        "part", "kind", "shape", "units", right=("units",), title="layers", first_out=("shape",)
    )
    summary = architecture.summary()
    for part, key in (("features", "features"), ("Q", "units")):
        for layer in summary[key]:
            shape, source = layer["shape"], layer.get("source")
            where = part if source is None else f"source {source}"
            layers.add_row(where, layer["kind"], " x ".join(map(str, shape)), f"{math.prod(shape):,}")
    parts: list[RenderableType] = [about, layers]
    if network.sources is not None:
        parts.append(sources_table(network.sources))
    if calibrations:
        parts.append(calibrations_table(calibrations))
    if network.error:
        parts.append(Text(network.error, style="red"))
    return Group(*parts)


def sources_table(known: NetworkSources) -> Table:
    """Return the table of the sources of a network: what each adds, where that is ``known``."""
    numbers = ("visible units", "decay", "dropout", "without it", "it alone")
    title = "sources"
    if known.accuracy is not None:
        kind = "held-out" if known.held_out else "training"
        title += f": own accuracy with all {known.accuracy:.2%}, of {known.images:,} {kind} images"
    table = new_table("source", *numbers, right=numbers, title=title, first_out=("decay",))
    for source in known.sources:
        shares = ("" if share is None else f"{share:.2%}" for share in (source.without, source.alone))
        figures = (f"{source.visible:,}", f"{source.decay:g}", f"{source.dropout:g}")
        table.add_row(source.name, *figures, *shares)
    return table


def _training_rows(network: queries.NetworkSummary) -> list[tuple[str, str]]:
    """Return names and values of what is known of the training of ``network``; empty where it is not."""
    rows = []
    if (accuracy := _accuracy(network)) is not None:
        rows.append(("own accuracy", accuracy))
    check: Mapping[str, Any] = (network.metrics or {}).get("label_check") or {}
    if missing := _missing(check, network.classes):
        rows.append(("missing", missing))
    if check.get("disputed"):
        rows.append(("labels", _disputed(check, network.classes)))
    return rows


def _accuracy(network: queries.NetworkSummary) -> str | None:
    """Return the own accuracy of ``network``, and further figures if its classes are unbalanced."""
    again = ", before it was trained on all of them" if (network.metrics or {}).get("refit") else ""
    basis = f"on images held out during training{again}"
    accuracy = network.own_accuracy
    if accuracy is None:
        basis, accuracy = "on the images it was trained on", network.train_accuracy
    if accuracy is None:
        return None
    return f"{accuracy:.2%} {basis}{_balance_text(network.balanced_accuracy, network.auc)}"


def _balance_text(balanced_accuracy: float | None, auc: float | None) -> str:
    """Return the figures of unbalanced classes in words that follow others; empty: they are balanced."""
    if balanced_accuracy is None:
        return ""
    area = "" if auc is None else f", AUC {auc:.4f}"
    return f"; classes are unbalanced: balanced accuracy {balanced_accuracy:.2%}{area}"


def _missing(check: Mapping[str, Any], classes: Sequence[str]) -> str:
    """Return which classes have no images in the training or among the held-out ones."""
    parts = [
        f"no image {place} shows {_listed([classes[k] for k in found])}"
        for key, place in (("missing", "that was trained on"), ("missing_held_out", "that was held out"))
        if (found := check.get(key))
    ]
    return "; ".join(parts)


def _disputed(check: Mapping[str, Any], classes: Sequence[str]) -> str:
    """Return how many labels the network disputes, and of which images the most certainly."""
    worst = check["worst"][:_SHOWN_DISPUTES]
    shown = [
        f"image {each['image']} ({classes[each['label']]}, looks like {classes[each['predicted']]})"
        for each in worst
    ]
    labels = count_text(check["images"], "label")
    return (
        f"the network disputes {check['disputed']:,} of {labels}, counted from 0 "
        f"as in the data: {', '.join(shown)}{', ...' if check['disputed'] > len(shown) else ''}"
    )


def _listed(names: Sequence[str], most: int = 10) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def backbones_table(backbones: Sequence[BackboneSummary]) -> Table:
    """Return the table of `backbones list`."""
    columns = ("backbone", "pictures", "scale", "features", "bytes", "images/CPU s", "imported")
    right = ("features", "bytes", "images/CPU s")
    table = new_table(*columns, right=right, first_out=("imported", "bytes", "scale"))
    for backbone in backbones:
        table.add_row(
            backbone.name,
            f"{backbone.size} x {backbone.size}",
            str(backbone.scale),
            f"{backbone.features:,}",
            f"{backbone.bytes:,}",
            f"{1 / backbone.seconds:,.0f}",
            f"{backbone.created_at.astimezone():%Y-%m-%d %H:%M}",
        )
    return table


def backbone_text(backbone: BackboneSummary, networks: Sequence[str]) -> Table:
    """Return the text of `backbones show`: ``backbone`` and the ``networks`` that use it."""
    about = new_grid()
    about.add_row("backbone", backbone.name)
    about.add_row("pictures", f"colour, {backbone.size} x {backbone.size} pixels, scaled by {backbone.scale}")
    about.add_row("features", f"{backbone.features:,} values")
    operators = sorted(backbone.operators.items(), key=lambda each: (-each[1], each[0]))
    used = ", ".join(f"{name} {count}" for name, count in operators)
    about.add_row("graph", f"{backbone.parameters:,} weights, {backbone.nodes:,} nodes: {used}")
    about.add_row("file", f"{count_text(backbone.bytes, 'byte')}, sha256 {backbone.sha256}")
    rate = f"{count_text(round(1 / backbone.seconds), 'image')} a CPU second, when it was imported"
    about.add_row("speed", rate)
    about.add_row("networks", ", ".join(networks) or "none uses it")
    return about
