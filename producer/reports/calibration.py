"""Calibrations as text: what was compared, what it cost, and what was chosen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import sqrt
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table

from producer.calibration.queries import CalibrationSummary
from producer.progress.searches import search_text
from producer.reports.parameters import controls_text, parameters_text
from producer.reports.terminal import new_grid, new_table
from schema.network import temperature
from schema.network.reliability import stored_losses
from schema.quantities import count_text
from schema.states import CalibrationState, PlanState

_SETTINGS = ("visible", "lam", "sweeps", "chain_strength", "scale")


def calibration_text(calibration: CalibrationSummary) -> RenderableType:
    """Return the text of `networks calibrate`: the parameters of ``calibration``, and all candidates."""
    about = new_grid()
    about.add_row("calibration", f"{calibration.calibration_id}, {state_text(calibration)}")
    about.add_row("network", f"{calibration.network}, solver {calibration.solver}")
    about.add_row("images", f"{calibration.images:,} of {calibration.name}")
    measured = calibration.measured
    if calibration.parameters is None or calibration.accuracy is None or measured is None:
        return about
    about.add_row("parameters", parameters_text(calibration.parameters))
    if qubits := _qubit_parameters(calibration.parameters):
        about.add_row("", qubits)
    error = standard_error(calibration.accuracy, calibration.images)
    about.add_row("accuracy", f"{calibration.accuracy:.2%} +- {error:.2%} on these images")
    about.add_row("probabilities", _probabilities(measured))
    if (losses := stored_losses(measured)) is not None:
        about.add_row("", f"{losses}, on these images")
    if controls := controls_text(measured.get("controls")):
        about.add_row("controls", controls)
    if "chosen" not in measured or not measured["spent_us"]:  # without qubits, or by an earlier version
        return Group(about, _by_reads(measured, calibration.images))
    about.add_row("compared", _spent(measured, calibration))
    about.add_row("unembedding", _unembeddings(measured, calibration.images))
    return Group(about, _settings(measured, calibration.images))


def state_text(calibration: CalibrationSummary) -> str:
    """Return the state of ``calibration``, and what it waits for."""
    if calibration.state is not CalibrationState.WAITING:
        return calibration.state
    if calibration.plan_state is PlanState.PLANNING:
        return f"planning: {search_text(calibration.progress)}"
    if calibration.plan_state is PlanState.QUEUED:
        return "waiting for a worker that plans it"
    return f"waiting for {count_text(calibration.runs, 'run')}"


def _probabilities(measured: Mapping[str, Any]) -> str:
    found = temperature.fitted(measured)
    return "too few wrong images for a temperature: that of the network" if found is None else str(found)


def standard_error(accuracy: float, images: int) -> float:
    """Return the standard error of an ``accuracy`` on ``images`` images, as of a binomial distribution."""
    return sqrt(accuracy * (1.0 - accuracy) / images)


def _qubit_parameters(parameters: Mapping[str, Any]) -> str:
    names = ("chain_strength", "scale", "unembedding")
    texts = [f"{name.replace('_', ' ')} {parameters[name]}" for name in names if name in parameters]
    return ", ".join(texts)


def _spent(measured: Mapping[str, Any], calibration: CalibrationSummary) -> str:
    budget_us = calibration.budget_us
    of = "" if budget_us is None else f" of {budget_us / 1e6:g} s"
    settings = len(measured["candidates"])
    return (
        f"{settings} settings on {count_text(calibration.images, 'image')} each, "
        f"{measured['spent_us'] / 1e6:.3g} s{of} QPU time"
    )


def _unembeddings(measured: Mapping[str, Any], images: int) -> str:
    """Return the accuracy of the chosen parameters with each unembedding, from the same reads."""
    row, column = measured["chosen"]
    chosen = measured["choices"][column]
    texts = []
    for choice, right in zip(measured["choices"], measured["right"][row], strict=True):
        if {**choice, "unembedding": None} == {**chosen, "unembedding": None}:
            texts.append(f"{choice['unembedding']} {right / images:.1%}")
    return ", ".join(texts)


def _settings(measured: Mapping[str, Any], images: int) -> Table:
    """Return the table of settings on qubits, each with its cheapest choice of about the best accuracy."""
    names = [name for name in _SETTINGS if name != "sweeps"]
    figures = ("reads", "accuracy, %", "us/image", "QPU ms")
    columns = ("visible", "lam", "chains", "scale")
    table = new_table(
        *columns, *figures, right=(*columns[1:], *figures), title="settings, the chosen one marked *"
    )
    chosen, _ = measured["chosen"]
    for row, candidate in enumerate(measured["candidates"]):
        best = candidate["best"] if row != chosen else measured["chosen"][1]
        accuracy = measured["right"][row][best] / images
        texts = [_value(candidate[name]) for name in names]
        table.add_row(
            f"{texts[0]} *" if row == chosen else texts[0],
            *texts[1:],
            f"{measured['choices'][best]['reads']:,}",
            f"{100 * accuracy:.1f} +- {100 * standard_error(accuracy, images):.1f}",
            f"{candidate['costs'][best]:,.0f}",
            f"{candidate['spent_us'] / 1e3:,.0f}",
        )
    return table


def _value(value: Any) -> str:
    return "default" if value is None else f"{value:g}" if isinstance(value, float | int) else str(value)


def _by_reads(measured: Mapping[str, Any], images: int) -> Table:
    table = Table(title="accuracy by one-hot penalty (rows) and reads (columns), each by its best rule")
    candidates = measured["candidates"]
    names = ["lam", *(n for n in _SETTINGS[2:] if any(each.get(n) is not None for each in candidates))]
    for name in names:
        table.add_column(name.replace("_", " "), justify="right", style="bold" if name == "lam" else "")
    reads = [choice["reads"] for choice in measured["choices"]]
    columns = sorted(set(reads))
    for number in columns:
        table.add_column(f"{number:,}", justify="right")
    for candidate, right in zip(candidates, measured["right"], strict=True):
        best = [max(r for r, n in zip(right, reads, strict=True) if n == number) for number in columns]
        values = [_value(candidate.get(name)) for name in names]
        table.add_row(*values, *(f"{count / images:.2%}" for count in best))
    return table


def calibrations_table(calibrations: Sequence[CalibrationSummary]) -> Table:
    """Return the table of all ``calibrations`` of a network."""
    columns = ("calibration", "solver", "state", "parameters", "accuracy", "on")
    table = new_table(*columns, title="calibrations, newest first")
    for calibration in calibrations:
        table.add_row(
            str(calibration.calibration_id),
            calibration.solver,
            state_text(calibration),
            "" if calibration.parameters is None else parameters_text(calibration.parameters),
            "" if calibration.accuracy is None else f"{calibration.accuracy:.2%}",
            f"{count_text(calibration.images, 'image')} of {calibration.name}",
        )
    return table
