"""Networks and calibrations as text for people."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from producer.calibration.queries import CalibrationSummary
from producer.networks import queries
from producer.reports.run import parameters_text
from schema.network.architecture import Architecture


def networks_table(networks: list[queries.NetworkSummary]) -> Table:
    """`networks list` for people."""
    table = Table()
    for name in ("network", "origin", "state", "images", "classes", "transfer", "own accuracy", "ready"):
        table.add_column(name)
    for network in networks:
        accuracy = network.own_accuracy
        table.add_row(
            f"{network.name}@{network.version}",
            network.origin,
            network.state,
            f"{network.height} x {network.width}",
            str(len(network.classes)),
            network.training["transfer"],
            "" if accuracy is None else f"{accuracy:.2%}",
            "" if network.finished_at is None else f"{network.finished_at.astimezone():%Y-%m-%d %H:%M}",
        )
    return table


def calibration_text(calibration: CalibrationSummary) -> RenderableType:
    """`networks calibrate` for people: what was chosen, and what it was chosen from."""
    about = Table.grid(padding=(0, 2))
    about.add_row("calibration", f"{calibration.calibration_id}, {calibration.state}")
    about.add_row("network", f"{calibration.network}, solver {calibration.solver}")
    about.add_row("images", f"{calibration.images:,} of {calibration.name}")
    if calibration.parameters is not None and calibration.accuracy is not None:
        about.add_row("parameters", parameters_text(calibration.parameters))
        about.add_row("accuracy", f"{calibration.accuracy:.2%} on these images")
    if calibration.measured is None:
        return about
    return Group(about, _compared(calibration.measured, calibration.images))


def _compared(measured: dict[str, Any], images: int) -> Table:
    """Accuracy by one-hot penalty (rows) and reads (columns), by the best rule for each."""
    table = Table(title="accuracy by one-hot penalty (rows) and reads (columns), each by its best rule")
    table.add_column("lam", justify="right", style="bold")
    reads = [choice["reads"] for choice in measured["choices"]]
    columns = sorted(set(reads))
    others = [
        name
        for name in ("sweeps", "chain_strength", "scale")
        if any(candidate.get(name) is not None for candidate in measured["candidates"])
    ]
    for name in others:
        table.add_column(name.replace("_", " "), justify="right")
    for number in columns:
        table.add_column(f"{number:,}", justify="right")
    for candidate, right in zip(measured["candidates"], measured["right"], strict=True):
        best = [max(r for r, made in zip(right, reads, strict=True) if made == number) for number in columns]
        chosen = ["default" if (value := candidate.get(name)) is None else f"{value:g}" for name in others]
        table.add_row(f"{candidate['lam']:g}", *chosen, *(f"{count / images:.2%}" for count in best))
    return table


def _calibrated(calibrations: Sequence[CalibrationSummary]) -> Table:
    table = Table(title="calibrations, newest first")
    for name in ("calibration", "solver", "state", "parameters", "accuracy", "on"):
        table.add_column(name)
    for held in calibrations:
        table.add_row(
            str(held.calibration_id),
            held.solver,
            held.state,
            "" if held.parameters is None else parameters_text(held.parameters),
            "" if held.accuracy is None else f"{held.accuracy:.2%}",
            f"{held.images:,} images of {held.name}",
        )
    return table


def network_text(
    network: queries.NetworkSummary, calibrations: Sequence[CalibrationSummary] = ()
) -> RenderableType:
    """`networks show` for people."""
    architecture = Architecture.from_dict(network.architecture)
    about = Table.grid(padding=(0, 2))
    about.add_row("network", f"{network.name}@{network.version}, {network.origin}, {network.state}")
    about.add_row("images", f"{network.height} x {network.width} pixels, 0 to {architecture.input.image_max}")
    about.add_row("classes", ", ".join(network.classes))
    seed = network.training["seed"]
    about.add_row("transfer", network.training["transfer"] + ("" if seed is None else f", seed {seed}"))
    about.add_row(
        "Q matrix",
        f"{architecture.units} units ({' + '.join(map(str, architecture.sizes))}), "
        f"{sum(architecture.couplers):,} couplers, density {architecture.density:.1%}",
    )
    about.add_row("weights", f"{architecture.weights:,}, sha256 {network.weights_sha256 or 'none yet'}")
    if network.own_accuracy is not None:
        about.add_row("own accuracy", f"{network.own_accuracy:.2%} on images held out while training")
    elif network.train_accuracy is not None:
        about.add_row("own accuracy", f"{network.train_accuracy:.2%} on the images it was trained on")
    if command := (network.metrics or {}).get("command"):
        about.add_row("made by", command)
    layers = Table(title="layers")
    for name in ("part", "kind", "shape", "units"):
        layers.add_column(name, justify="right" if name == "units" else "left")
    summary = architecture.summary()
    for part, key in (("features", "features"), ("Q", "units")):
        for layer in summary[key]:
            shape = layer["shape"]
            layers.add_row(part, layer["kind"], " x ".join(map(str, shape)), f"{math.prod(shape):,}")
    parts: list[RenderableType] = [about, layers]
    if calibrations:
        parts.append(_calibrated(calibrations))
    if network.error:
        parts.append(Text(network.error, style="red"))
    return Group(*parts)
