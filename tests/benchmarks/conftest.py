"""Benchmarks record figures; at the end one table is printed and bench.json is written.

Ratios are compared with those of last_figures.json: one that is a tenth worse fails the run. With
ANNEALQ_BENCH_UPDATE=1 the file gets the new figures.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from rich.console import Console
from rich.table import Table

from tests.benchmarks import figures
from tests.benchmarks.figures import Figure

Record = Callable[..., None]
LAST = Path(__file__).parent / "last_figures.json"
_FIGURES = pytest.StashKey[list[Figure]]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_FIGURES] = []


@pytest.fixture
def record(pytestconfig: pytest.Config) -> Record:
    """Keeps a figure: `record(measure, ours, unit, goal)`. A missed goal is shown, not hidden.

    spread: all the values that ``ours`` is the median of; the least and the greatest are written down.
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
        ends = None if spread is None else (float(min(spread)), float(max(spread)))
        numbers = [None if value is None else float(value) for value in (goal, rival)]
        figure = Figure(measure, float(ours), unit, numbers[0], at_least, numbers[1], ends)
        pytestconfig.stash[_FIGURES].append(figure)

    return record


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    found = session.config.stash[_FIGURES]
    if not found or os.environ.get("ANNEALQ_BENCH_UPDATE"):
        return
    if session.exitstatus == pytest.ExitCode.OK and figures.regressions(figures.read(LAST), found):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(config: pytest.Config) -> None:
    found = config.stash[_FIGURES]
    if not found:
        return
    figures.write(Path(config.rootpath) / "bench.json", found)
    console = Console(width=150)
    console.print(_table(found))
    last = figures.read(LAST)
    if os.environ.get("ANNEALQ_BENCH_UPDATE"):
        figures.write(LAST, figures.merged(last, found), digits=4)
        console.print(f"{LAST.name} has these figures now")
        return
    for regression in figures.regressions(last, found):
        console.print(f"[red]regression[/red] {regression}", highlight=False)


def _table(found: Sequence[Figure]) -> Table:
    table = Table(title="figures (also in bench.json)")
    for name in ("measure", "ours", "spread", "rival", "ratio", "goal", "unit", "met"):
        table.add_column(
            name, justify="right" if name in {"ours", "spread", "rival", "ratio", "goal"} else "left"
        )
    for figure in found:
        numbers = (figure.ours, figure.rival, figure.ratio)
        ours, rival, ratio = ("" if number is None else f"{number:.4g}" for number in numbers)
        spread = "" if figure.spread is None else " - ".join(f"{value:.3g}" for value in figure.spread)
        goal = "" if figure.goal is None else f"{'>=' if figure.at_least else '<='} {figure.goal:g}"
        met = {True: "yes", False: "NO", None: ""}[figure.met]
        table.add_row(figure.measure, ours, spread, rival, ratio, goal, figure.unit, met)
    return table
