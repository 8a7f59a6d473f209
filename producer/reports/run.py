"""What a user reads at the end of a run: plain objects for --json, tables for people."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text
from sqlalchemy.orm import Session

from producer import embeddings, queries, solver_report
from producer.calibrations import CalibrationSummary
from schema import arrays
from schema.architecture import Architecture
from schema.damage import stored_in
from schema.hours import Hours, shown
from schema.parameters import Rule, Solver
from schema.states import FINISHED_RUNS, RunState

_MOST_CLASSES = 26  # wider tables do not fit a terminal


def run_object(session: Session, run_id: int, now: datetime | None = None) -> dict[str, Any]:
    """One run as plain JSON: what `runs show --json` prints. now: for when its window opens and closes."""
    run = queries.run(session, run_id)
    counts = queries.counts(session, run_id)
    values = {k: v.isoformat() if hasattr(v, "isoformat") else v for k, v in asdict(run).items()}
    return {
        **values,
        "decided": counts.decided,
        "tied": counts.tied,
        "undecided": counts.undecided,
        "accuracy": counts.accuracy,
        **_hours(run, now),
    }


def run_text(
    session: Session, run_id: int, *, scores: bool = False, now: datetime | None = None
) -> RenderableType:
    """One run for people: figures, then the table of predicted against true classes."""
    run = queries.run(session, run_id)
    counts = queries.counts(session, run_id)
    names = queries.classes(session, run_id)
    parts: list[RenderableType] = [_figures(run, counts, now or datetime.now(UTC))]
    if run.statistics and Solver(run.solver).is_remote:
        units = embeddings.layers_of_run(session, run_id)
        parts.append(solver_report.solver_figures(run.statistics, units))
    if counts.decided + counts.undecided:
        confusion = queries.confusion(session, run_id)
        if confusion and len(names) <= _MOST_CLASSES:
            parts.append(_against(confusion, names))
        elif not confusion:
            parts.append(_predicted(queries.predictions(session, run_id), names))
        if scores and confusion:
            parts.append(_scores(mean_scores(session, run_id, len(names)), names))
    if run.error:
        parts.append(Text(run.error, style="red"))
    return Group(*parts)


def mean_scores(session: Session, run_id: int, classes: int) -> NDArray[np.float64]:
    """(K, K) mean consensus class scores in 0..100 by true class, as in the paper's Tables 1 and 2.

    Rows of classes that no image has are NaN.
    """
    labels: list[int] = []
    rows: list[bytes] = []
    for image in queries.classified(session, run_id):
        if image.label is not None:
            labels.append(image.label)
            rows.append(image.scores)
    with stored_in(f"run {run_id}", f"score it again: `annealq runs rescore {run_id}`"):
        scores = arrays.decode_scores(rows, classes)
    return average_by_label(scores, np.array(labels, dtype=np.int64), classes)


def average_by_label(
    scores: NDArray[np.float32], labels: NDArray[np.int64], classes: int
) -> NDArray[np.float64]:
    """Mean of (B, K) ``scores`` for each label, times 100: (K, K); NaN where a class has no image."""
    sums = np.zeros((classes, classes))
    np.add.at(sums, labels, scores)
    counts = np.bincount(labels, minlength=classes)[:, None]
    with np.errstate(invalid="ignore"):
        return 100 * sums / np.where(counts == 0, np.nan, counts)


def _hours(run: queries.RunSummary, now: datetime | None) -> dict[str, str | None]:
    """When a run's window opens and closes next, for JSON; nothing of a run without one."""
    if run.window is None or run.state in FINISHED_RUNS:
        return {"window_opens_at": None, "window_closes_at": None}
    now = now or datetime.now(UTC)
    hours = Hours.of(run.window, run.opened_until, run.deadline_at)
    opens, closes = hours.next_open(now), hours.closes(now)
    is_open = hours.is_open(now)
    return {
        "window_opens_at": None if is_open or opens is None else opens.isoformat(),
        "window_closes_at": None if closes is None else closes.isoformat(),
    }


def _add_hours(table: Table, run: queries.RunSummary, now: datetime) -> None:
    hours = Hours.of(run.window, run.opened_until, run.deadline_at)
    zone = UTC if hours.windows is None else hours.windows.zone
    if hours.windows is not None:
        opens, closes = hours.next_open(now), hours.closes(now)
        if run.state in FINISHED_RUNS:
            when = ""
        elif not hours.is_open(now):
            when = "; never opens" if opens is None else f"; opens {shown(opens, zone)}"
        else:
            when = "; open" if closes is None else f"; open until {shown(closes, zone)}"
        table.add_row("window", f"{hours.windows}{when}")
    if run.deadline_at is not None:
        table.add_row("deadline", shown(run.deadline_at, zone))


def _figures(run: queries.RunSummary, counts: queries.Counts, now: datetime) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_row("run", f"{run.run_id}: {run.name}, {run.state}")
    table.add_row("network", f"{run.network}, solver {run.solver}, {run.parameters['reads']} reads an image")
    table.add_row("consensus", consensus_text(run.parameters))
    if run.state is RunState.PAUSED and run.pause_reason is not None:
        table.add_row("paused", run.pause_reason)
    _add_hours(table, run, now)
    if run.rescored_from is not None:
        table.add_row("samples", f"those of run {run.rescored_from}: nothing was sampled again")
    if run.calibrated_by is not None:
        table.add_row("parameters", f"by calibration {run.calibrated_by}: {parameters_text(run.parameters)}")
    if run.calibrates is not None:
        table.add_row("purpose", f"calibration {run.calibrates}: {parameters_text(run.parameters)}")
    table.add_row(
        "images", f"{run.images:,}, {counts.decided:,} decided, {counts.undecided:,} undecided{_tied(counts)}"
    )
    if counts.accuracy is not None:
        table.add_row("accuracy", f"{counts.accuracy:.2%} ({counts.correct:,} of {counts.labelled:,} right)")
    if run.statistics:
        _add_throughput(table, run.statistics)
    return table


def consensus_text(parameters: Mapping[str, Any]) -> str:
    """A run's consensus rule, with the number that belongs to it."""
    match parameters["rule"]:
        case Rule.LOWEST_ENERGY_MEAN:
            return f"{parameters['rule']}, fraction {parameters['fraction']:g}"
        case Rule.BOLTZMANN:
            return f"{parameters['rule']}, beta {parameters.get('beta', 1.0):g}"
        case rule:
            return str(rule)


def parameters_text(parameters: Mapping[str, Any], names: Collection[str] | None = None) -> str:
    """Sampling parameters in one line, without those that the rule does not use; ``names``: only these."""
    shown = {
        "lam": None if parameters.get("lam") is None else f"lam {parameters['lam']:g}",
        "reads": f"{parameters['reads']:,} reads",
        "visible": f"visible units {parameters['visible']}",
        "sweeps": None if parameters.get("sweeps") is None else f"{parameters['sweeps']:,} sweeps",
        "rule": consensus_text(parameters),
    }
    wanted = [text for name, text in shown.items() if text and (names is None or name in names)]
    return ", ".join(wanted)


def _tied(counts: queries.Counts) -> str:
    return f", {counts.tied:,} tied" if counts.tied else ""


def _add_throughput(table: Table, figures: dict[str, Any]) -> None:
    table.add_row(
        "throughput", f"{figures['images_per_second']:,.1f} images/s over {figures['elapsed_seconds']:,.1f} s"
    )
    table.add_row(
        "sampling", f"{figures['sampling_seconds']:,.1f} s inside the annealer, all workers together"
    )
    for name, key in (("queue wait", "queue_wait_ms"), ("latency", "latency_ms")):
        known = [(p, ms) for p, ms in figures[key].items() if ms is not None]
        table.add_row(name, ", ".join(f"{p} {ms / 1000:,.2f} s" for p, ms in known))


def _against(confusion: list[tuple[int, int | None, int]], names: tuple[str, ...]) -> Table:
    """Images by true class (rows) and predicted class (columns)."""
    undecided = any(predicted is None for _, predicted, _ in confusion)
    table = Table(title="images by true class (rows) and predicted class (columns)")
    table.add_column("true", style="bold")
    for name in (*names, "undecided") if undecided else names:
        table.add_column(name, justify="right")
    table.add_column("right", justify="right")
    columns: list[int | None] = [*range(len(names)), *([None] if undecided else [])]
    cells = {(label, predicted): images for label, predicted, images in confusion}
    for label in sorted({label for label, _, _ in confusion}):
        row = [cells.get((label, predicted), 0) for predicted in columns]
        share = cells.get((label, label), 0) / sum(row)
        texts = [_cell(images, predicted == label) for images, predicted in zip(row, columns, strict=True)]
        table.add_row(names[label], *texts, f"{share:.1%}")
    return table


def _cell(images: int, right: bool) -> Text:
    if not images:
        return Text("·", style="dim")
    return Text(f"{images:,}", style="green" if right else "red")


def _predicted(predictions: list[tuple[int | None, int]], names: tuple[str, ...]) -> Table:
    table = Table(title="images by predicted class")
    table.add_column("class", style="bold")
    table.add_column("images", justify="right")
    for predicted, images in predictions:
        table.add_row("undecided" if predicted is None else names[predicted], f"{images:,}")
    return table


def _scores(means: NDArray[np.float64], names: tuple[str, ...]) -> Table:
    table = Table(title="mean consensus class score (0 to 100) by true class (rows)")
    table.add_column("true", style="bold")
    for name in names:
        table.add_column(name, justify="right")
    for label, row in enumerate(means):
        if not np.isnan(row).any():
            texts = [Text(f"{value:.0f}", style="green" if k == label else "") for k, value in enumerate(row)]
            table.add_row(names[label], *texts)
    return table


def runs_table(runs: list[queries.RunSummary]) -> Table:
    """`runs list` for people."""
    table = Table()
    for name, justify in (("run", "right"), ("data", "left"), ("network", "left"), ("solver", "left")):
        table.add_column(name, justify=justify)  # type: ignore[arg-type]
    for name in ("state", "images", "scored", "images/s", "created"):
        table.add_column(name, justify="left" if name == "state" else "right")
    for run in runs:
        scored = run.batches_scored / run.batches
        rate = (run.statistics or {}).get("images_per_second")
        table.add_row(
            str(run.run_id),
            run.name,
            run.network,
            run.solver,
            run.state,
            f"{run.images:,}",
            f"{scored:.0%}",
            "" if rate is None else f"{rate:,.1f}",
            f"{run.created_at.astimezone():%Y-%m-%d %H:%M}",
        )
    return table


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
