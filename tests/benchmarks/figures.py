"""Figures of the benchmarks: a file of the last ones, and ratios that fell behind them.

A ratio compares annealq with a rival in one run on one machine, so that it can be compared with that of
another day. Times and rates depend on the machine: they are written down, and not compared.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

# A tenth: medians of ratios differ by a few hundredths from run to run.
TOLERANCE = 0.1


@dataclass(frozen=True)
class Figure:
    """One row of the table.

    Attributes:
        measure: what was measured.
        ours: the figure, the median if there are several.
        unit: of ``ours`` and of ``rival``.
        goal: the limit that ``ours`` should reach; None without one.
        at_least: whether larger is better.
        rival: the same figure of the best alternative, measured in the same run.
        spread: the least and the greatest value that ``ours`` is the median of.
    """

    measure: str
    ours: float
    unit: str
    goal: float | None = None
    at_least: bool = True
    rival: float | None = None
    spread: tuple[float, float] | None = None

    @property
    def ratio(self) -> float | None:
        """Return how many times better than its rival the figure is."""
        if self.rival is None:
            return None
        return self.ours / self.rival if self.at_least else self.rival / self.ours

    @property
    def best_ratio(self) -> float | None:
        """Return the ratio of the best value of the spread."""
        if self.rival is None or self.spread is None:
            return self.ratio
        return self.spread[1] / self.rival if self.at_least else self.rival / self.spread[0]

    @property
    def met(self) -> bool | None:
        """Return whether the goal is reached; None without a goal."""
        if self.goal is None:
            return None
        return bool(self.ours >= self.goal if self.at_least else self.ours <= self.goal)


@dataclass(frozen=True)
class Regression:
    """A ratio that is worse than the last one by more than the tolerance."""

    measure: str
    last: float
    now: float

    def __str__(self) -> str:
        """Return the measure, both ratios and their difference."""
        return f"{self.measure}: {self.now:.3g} x, {1 - self.now / self.last:.0%} less than {self.last:.3g} x"


def regressions(last: Iterable[Figure], now: Iterable[Figure]) -> list[Regression]:
    """Return the ratios of ``now`` that are more than a tenth below those of ``last``.

    A figure with a spread is a regression only if the best of its values is one, too. Figures that are in one
    of both alone are no regressions.
    """
    before = {figure.measure: figure.ratio for figure in last}
    found = []
    for figure in now:
        ratio, best, expected = figure.ratio, figure.best_ratio, before.get(figure.measure)
        if ratio is not None and best is not None and expected is not None:
            limit = (1 - TOLERANCE) * expected
            if ratio < limit and best < limit:
                found.append(Regression(figure.measure, expected, ratio))
    return found


def read(path: Path) -> list[Figure]:
    """Return the figures of the file ``path``; none if there is no file."""
    if not path.exists():
        return []
    rows = json.loads(path.read_text())
    return [Figure(**{**row, "spread": row["spread"] and tuple(row["spread"])}) for row in rows]


def write(path: Path, figures: Sequence[Figure], digits: int | None = None) -> None:
    """Write ``figures`` to ``path`` in the order of their measures, rounded to ``digits`` if given."""
    ordered = sorted(figures, key=lambda figure: figure.measure)
    rows = [_rounded(asdict(figure), digits) for figure in ordered]
    path.write_text(json.dumps(rows, indent=1, allow_nan=True) + "\n")


def merged(last: Iterable[Figure], now: Iterable[Figure]) -> list[Figure]:
    """Return the figures of ``last`` with those of ``now`` in the place of older ones."""
    by_measure = {figure.measure: figure for figure in (*last, *now)}
    return list(by_measure.values())


def _rounded(value: object, digits: int | None) -> object:
    if isinstance(value, dict):
        return {key: _rounded(one, digits) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(one, digits) for one in value]
    return float(f"{value:.{digits}g}") if isinstance(value, float) and digits else value
