"""Benchmarks record figures; at the end one table is printed and bench.json is written."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from rich.table import Table

Record = Callable[..., None]
_FIGURES = pytest.StashKey[list[dict[str, Any]]]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_FIGURES] = []


@pytest.fixture
def record(pytestconfig: pytest.Config) -> Record:
    """Keeps a figure: `record(measure, ours, unit, goal)`. A missed goal is shown, not hidden.

    spread: all the values that ``ours`` is the median of; the least and the greatest are kept.
    """

    def record(
        measure: str,
        ours: float,
        unit: str,
        goal: float | None = None,
        *,
        at_least: bool = True,
        rival: float | None = None,
        spread: Sequence[float] | None = None,
    ) -> None:
        ratio = None if rival is None else (ours / rival if at_least else rival / ours)
        met = None if goal is None else bool(ours >= goal if at_least else ours <= goal)
        sign = "" if goal is None else ">= " if at_least else "<= "
        pytestconfig.stash[_FIGURES].append(
            {
                "measure": measure,
                "ours": ours,
                "rival": rival,
                "ratio": ratio,
                "goal": None if goal is None else f"{sign}{goal:g}",
                "unit": unit,
                "met": met,
                "spread": None if spread is None else [min(spread), max(spread)],
            }
        )

    return record


def pytest_terminal_summary(config: pytest.Config) -> None:
    figures = config.stash[_FIGURES]
    if not figures:
        return
    (Path(config.rootpath) / "bench.json").write_text(json.dumps(figures, indent=2) + "\n")
    table = Table(title="figures (also in bench.json)")
    for name in ("measure", "ours", "spread", "rival", "ratio", "goal", "unit", "met"):
        table.add_column(
            name, justify="right" if name in {"ours", "spread", "rival", "ratio", "goal"} else "left"
        )
    for figure in figures:
        numbers = ["" if figure[k] is None else f"{figure[k]:.4g}" for k in ("ours", "rival", "ratio")]
        met = {True: "yes", False: "NO", None: ""}[figure["met"]]
        spread = "" if figure["spread"] is None else " - ".join(f"{value:.3g}" for value in figure["spread"])
        ours, rival, ratio = numbers
        table.add_row(
            figure["measure"], ours, spread, rival, ratio, figure["goal"] or "", figure["unit"], met
        )
    Console(width=150).print(table)
