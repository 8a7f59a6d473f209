"""Charts as plain rectangles and texts, which a template writes as SVG. No drawing library, no pixels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from producer.dashboard.run_facts import Done

_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 12, 8, 40  # room for the axes' texts
_TICK = 42  # from one tick to the next, at least
_BINS = 60


@dataclass(frozen=True)
class Size:
    """Of a chart, in its own units of length: at full width one is a pixel."""

    width: int
    height: int

    @property
    def inner(self) -> tuple[int, int]:
        return self.width - _LEFT - _RIGHT, self.height - _TOP - _BOTTOM


LARGE, SMALL = Size(540, 200), Size(260, 150)


@dataclass(frozen=True)
class Tick:
    """A place on an axis, in the chart's own units of length, and what stands there."""

    at: float
    text: str


@dataclass(frozen=True)
class Rect:
    """One bar, or one part of it; ``text`` says in words what it shows."""

    x: float
    y: float
    width: float
    height: float
    text: str


@dataclass(frozen=True)
class Series:
    """Bars of one meaning."""

    name: str
    bars: tuple[Rect, ...]


@dataclass(frozen=True)
class Chart:
    """Stacked bars over an axis. summary: what it shows, for those who do not see it."""

    title: str
    x_label: str
    y_label: str
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    series: tuple[Series, ...]
    summary: str
    size: Size

    @property
    def left(self) -> int:
        return _LEFT

    @property
    def right(self) -> int:
        return self.size.width - _RIGHT

    @property
    def bottom(self) -> int:
        return self.size.height - _BOTTOM


def histogram(
    title: str,
    x_label: str,
    y_label: str,
    edges: NDArray[np.float64],
    stacked: Sequence[tuple[str, NDArray[np.integer]]],
    size: Size = LARGE,
) -> Chart:
    """Counts between edges, (n + 1,), of one or more kinds, each (n,), on top of each other."""
    total = np.sum([counts for _, counts in stacked], axis=0)
    labels = [f"{low:.4g} to {high:.4g}" for low, high in pairwise(edges.tolist())]
    whole = int(total.sum())
    parts = ", ".join(f"{int(counts.sum()):,} {name}" for name, counts in stacked if counts.any())
    return _bars(
        title,
        (x_label, y_label),
        size,
        _numbers(float(edges[0]), float(edges[-1]), size),
        labels,
        [(name, counts.astype(np.float64)) for name, counts in stacked],
        summary=f"{whole:,} {y_label}" + (f": {parts}" if len(stacked) > 1 else ""),
    )


def rate(
    title: str, y_label: str, done: Sequence[Done], start: datetime, end: datetime, unit: float
) -> Chart:
    """How much was done in each moment from ``start`` to ``end``, as amounts for ``unit`` seconds."""
    length = max((end - start).total_seconds(), 1e-3)
    at = np.array([(one.at - start).total_seconds() for one in done])
    amounts = np.array([one.amount for one in done], dtype=np.float64)
    bins = int(np.clip(len(done), 1, _BINS))
    sums, edges = np.histogram(np.clip(at, 0.0, length), bins, (0.0, length), weights=amounts)
    rates = sums * unit * bins / length
    times = [start + timedelta(seconds=float(second)) for second in edges]
    labels = [f"{low:%H:%M:%S} to {high:%H:%M:%S} UTC" for low, high in pairwise(times)]
    mean = amounts.sum() * unit / length
    return _bars(
        title,
        (f"time (UTC), from {start:%Y-%m-%d %H:%M:%S}", y_label),
        LARGE,
        _clock(start, length, LARGE),
        labels,
        [("", rates)],
        summary=f"{mean:,.3g} {y_label} in the mean over {length:,.0f} s, at most {rates.max():,.3g}",
    )


def _bars(
    title: str,
    axes: tuple[str, str],
    size: Size,
    x_ticks: tuple[Tick, ...],
    labels: Sequence[str],
    stacked: Sequence[tuple[str, NDArray[np.float64]]],
    *,
    summary: str,
) -> Chart:
    highest = float(np.sum([values for _, values in stacked], axis=0).max(initial=0.0)) or 1.0
    inner_width, inner_height = size.inner
    scale, step = inner_height / highest, inner_width / len(labels)
    bottom = float(size.height - _BOTTOM)
    ground = np.full(len(labels), bottom)
    series = []
    for name, values in stacked:
        bars = []
        for k in np.flatnonzero(values).tolist():
            height = float(values[k]) * scale
            ground[k] -= height
            text = f"{labels[k]}: {values[k]:,.4g} {name or axes[1]}"
            bars.append(Rect(_LEFT + k * step, float(ground[k]), max(step - 0.5, 0.5), height, text))
        series.append(Series(name, tuple(bars)))
    y_ticks = tuple(
        Tick(bottom - value * scale, _number(value)) for value in nice(0.0, highest, inner_height // 25)
    )
    return Chart(title, axes[0], axes[1], x_ticks, y_ticks, tuple(series), summary, size)


def nice(low: float, high: float, count: int) -> list[float]:
    """About ``count`` round numbers from ``low`` to ``high``: multiples of 1, 2 or 5 times a power of ten."""
    if not high > low:
        return [low]
    raw = (high - low) / count
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1.0, 2.0, 5.0, 10.0) if factor * power >= raw * 0.999)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [k * step for k in range(first, last + 1)]


def _numbers(low: float, high: float, size: Size) -> tuple[Tick, ...]:
    span, width = (high - low) or 1.0, size.inner[0]
    values = nice(low, high, width // _TICK)
    return tuple(Tick(_LEFT + (value - low) / span * width, _number(value)) for value in values)


def _clock(start: datetime, length: float, size: Size) -> tuple[Tick, ...]:
    most = size.inner[0] // (2 * _TICK)
    steps = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400)
    step = next((one for one in steps if length / one <= most), 86400 * math.ceil(length / 86400 / most))
    pattern = "%H:%M:%S" if step < 60 else "%H:%M" if step < 86400 else "%m-%d"
    first = step - (start.hour * 3600 + start.minute * 60 + start.second) % step - start.microsecond / 1e6
    ticks = []
    at = first % step
    while at <= length:
        x = _LEFT + at / length * size.inner[0]
        ticks.append(Tick(x, f"{start + timedelta(seconds=at + 1e-3):{pattern}}"))
        at += step
    return tuple(ticks)


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
