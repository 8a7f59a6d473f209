"""Parameters of a run, the controls of its accuracy, and what was promised of them, as text."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, tzinfo
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from producer.reports.terminal import new_table, plot_lines
from schema.parameters import Rule
from schema.quantities import count_text, number_text, percent

CONTROLS = {
    "network": "the network itself",
    "exact_minimum": "the exact minimum",
    "random_bits": "random bits",
}
_PARTS = {"accuracy": "the accuracy", "budget": "the QPU time", "time": "the deadline"}
_COLUMNS = ("accuracy", "at least", "QPU s", "price", "finished", "QPU", "visible", "reads", "rule")
_FIRST_OUT = ("rule", "visible", "QPU", "finished")


def consensus_text(parameters: Mapping[str, Any]) -> str:
    """Return the consensus rule in ``parameters``, with its own parameter."""
    match parameters["rule"]:
        case Rule.LOWEST_ENERGY_MEAN:
            return f"{parameters['rule']}, fraction {parameters['fraction']:g}"
        case Rule.BOLTZMANN:
            return f"{parameters['rule']}, beta {parameters.get('beta', 1.0):g}"
        case rule:
            return str(rule)


def without_text(parameters: Mapping[str, Any]) -> str:
    """Return which sources of the network ``parameters`` leave out, to go on a line; empty: none."""
    names = parameters.get("without") or ()
    return f", without {', '.join(names)}" if names else ""


def parameters_text(parameters: Mapping[str, Any], names: Collection[str] | None = None) -> str:
    """Return sampling ``parameters`` (only those in ``names``, if given) that the rule uses, in one line."""
    texts = {
        "lam": None if parameters.get("lam") is None else f"lam {parameters['lam']:g}",
        "reads": count_text(parameters["reads"], "read"),
        "visible": f"visible units {parameters['visible']}",
        "sweeps": None if parameters.get("sweeps") is None else f"{parameters['sweeps']:,} sweeps",
        "rule": consensus_text(parameters),
    }
    wanted = [text for name, text in texts.items() if text and (names is None or name in names)]
    return ", ".join(wanted)


def controls_text(controls: Mapping[str, Any] | None) -> str | None:
    """Return the ``controls`` of an accuracy in one line, or None if there are none."""
    if controls is None:
        return None
    texts = [
        f"{_accuracy(key, controls[key])} by {name} ({_effort(controls[key])})"
        for key, name in CONTROLS.items()
        if controls.get(key) is not None
    ]
    return ", ".join(texts)


def _accuracy(control: str, share: Mapping[str, Any]) -> str:
    """Return the accuracy of a control; that of random bits, which is of few images, without digits."""
    return f"{share['accuracy']:.0%}" if control == "random_bits" else f"{share['accuracy']:.2%}"


def _effort(share: Mapping[str, Any]) -> str:
    """Return of how many images a control is, and their time."""
    us = share.get("us_per_image")
    images = count_text(share["images"], "image")
    return images if us is None else f"{images}, {number_text(us)} us each"


def front_text(promise: Mapping[str, Any], zone: tzinfo | None = None) -> RenderableType:
    """Return the Pareto front of ``promise`` as a table and a plot, and the choice from it.

    Times are in ``zone``, by default this machine's.
    """
    front = promise["front"]
    name, costs = _costs(front)
    points = [(cost, row["least_accuracy"], row["chosen"]) for cost, row in zip(costs, front, strict=True)]
    parts: list[RenderableType] = [_front(front, zone)]
    if len({(cost, least) for cost, least, _ in points}) > 1:
        above = "accuracy that is promised (* chosen, - target)"
        lines = plot_lines(points, promise["target"], above=above, below=name)
        parts.append(Text("\n".join(lines)))
    return Group(*parts, Text(promise_text(promise)))


def _costs(front: Sequence[Mapping[str, Any]]) -> tuple[str, list[float]]:
    """Return what the settings of ``front`` are chosen by, in words, and how much of it each takes."""
    if all(row["price"] is not None for row in front) and any(row["price"] for row in front):
        return "price of the run", [row["price"] for row in front]
    if any(row["qpu_us"] for row in front):
        return "seconds of QPU time", [row["qpu_us"] / 1e6 for row in front]
    return "reads of an image", [sum(reads * share for reads, share in row["rounds"]) for row in front]


def promise_text(promise: Mapping[str, Any]) -> str:
    """Return what was promised, in a sentence."""
    qpu = "" if promise["qpu"] is None else f", {number_text(promise['qpu_us'] / 1e6)} s of QPU time"
    if qpu and promise.get("most_qpu_us", promise["qpu_us"]) > promise["qpu_us"]:
        qpu += f" (at most {number_text(promise['most_qpu_us'] / 1e6)} s)"
    price = "" if promise["price"] is None else f" for {number_text(promise['price'])}"
    return (
        f"target {percent(promise['target'])}: at least {percent(promise['least_accuracy'], down=True)} with "
        f"{promise['confidence']:.0%} probability, {percent(promise['accuracy'])} expected{qpu}{price} "
        f"(calibration {promise['calibration']}, "
        f"{count_text(promise['validation_images'], 'validation image')}{_among(promise)})"
    )


def _among(promise: Mapping[str, Any]) -> str:
    """Return among how many settings the one of ``promise`` was chosen; earlier versions did not store it."""
    compared = promise.get("compared")
    return "" if compared is None else f", chosen among {count_text(compared, 'setting')}"


def outcome_text(outcome: Mapping[str, Any] | None) -> str:
    """Return whether a run kept its promise by its ``outcome``, and which parts of it were broken."""
    if outcome is None:
        return "the run has not finished"
    if outcome["kept"] is None:
        return "accuracy unknown: the images have no labels"
    broken = [text for name, text in _PARTS.items() if outcome[name] is False]
    return f"not kept: {', '.join(broken)}" if broken else "kept"


def rounds_text(rounds: Sequence[Sequence[float]]) -> str:
    """Return ``rounds`` of reads as they are planned: `10, then 50 for 3%`."""
    first, *later = rounds
    return "".join([f"{first[0]:,.0f}", *(f", then {reads:,.0f} for {share:.1%}" for reads, share in later)])


def _front(front: Sequence[Mapping[str, Any]], zone: tzinfo | None) -> Table:
    """Return the table of ``front``, without columns in which nothing would stand."""
    empty = {"price"} if all(row["price"] is None for row in front) else set()
    if all(row["qpu"] is None for row in front):
        empty |= {"QPU", "QPU s"}
    columns = [name for name in _COLUMNS if name not in empty]
    table = new_table(
        *columns,
        right=("accuracy", "at least", "QPU s", "price"),
        title="what other accuracies take, the chosen one marked *",
        first_out=[name for name in _FIRST_OUT if name in columns],
    )
    for row in front:
        cells = _cells(row, zone)
        table.add_row(*(cells[name] for name in columns))
    return table


def _cells(row: Mapping[str, Any], zone: tzinfo | None) -> dict[str, str]:
    ends = row["finishes_at"]
    when = "never" if ends is None else f"{datetime.fromisoformat(ends).astimezone(zone):%a %H:%M}"
    return {
        "accuracy": f"{'* ' if row['chosen'] else ''}{row['accuracy']:.2%}",
        "at least": f"{row['least_accuracy']:.2%}",
        "QPU s": number_text(row["qpu_us"] / 1e6),
        "price": "" if row["price"] is None else number_text(row["price"]),
        "finished": when,
        "QPU": row["qpu"] or "",
        "visible": row["visible"],
        "reads": rounds_text(row["rounds"]),
        "rule": row["rule"],
    }
