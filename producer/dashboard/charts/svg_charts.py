"""Bar charts as rectangles, lines and texts, which a template writes as SVG."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schema.quantities import count_text, number_text

_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 12, 8, 40  # margins for the texts of the axes
_MOST_DIGITS = 12  # of a number next to a tick
_TICK = 42  # smallest distance of ticks
_BINS = 60
_POINT = 8.0  # side of a point
_FILLED = 0.95  # share of the height that points take
_FEW_IMAGES = 20  # in a bin: its share of correct ones has a standard error of up to 11 points


@dataclass(frozen=True)
class Size:
    """Size of a chart in its own units: one unit is a pixel at full width."""

    width: int
    height: int

    @property
    def inner(self) -> tuple[int, int]:
        """Return width and height between the margins."""
        return self.width - _LEFT - _RIGHT, self.height - _TOP - _BOTTOM


LARGE, SMALL, SQUARE = Size(540, 200), Size(260, 150), Size(368, 348)


@dataclass(frozen=True)
class TimedAmount:
    """Work that was finished at a time: images scored, or microseconds charged."""

    when: datetime
    amount: float


@dataclass(frozen=True)
class Tick:
    """A position on an axis, in the chart's units, and its text."""

    position: float
    text: str


@dataclass(frozen=True)
class Rect:
    """A bar or a part of it; ``text`` describes it."""

    x: float
    y: float
    width: float
    height: float
    text: str


@dataclass(frozen=True)
class Line:
    """A straight line over the bars."""

    x1: float
    y1: float
    x2: float
    y2: float


@dataclass(frozen=True)
class Series:
    """Bars of one kind; ``faint`` ones matter less."""

    name: str
    bars: tuple[Rect, ...]
    faint: bool = False


@dataclass(frozen=True)
class Chart:
    """Stacked bars over an axis; ``summary`` describes them for screen readers."""

    title: str
    x_label: str
    y_label: str
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    series: tuple[Series, ...]
    summary: str
    size: Size
    lines: tuple[Line, ...] = ()

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
    """Return a histogram of ``size`` with ``title``, ``x_label`` and ``y_label``.

    Bins have (n + 1,) ``edges``; ``stacked`` are names and (n,) counts of each kind.
    """
    total = np.sum([counts for _, counts in stacked], axis=0)
    labels = [f"{low:.4g} to {high:.4g}" for low, high in pairwise(edges.tolist())]
    parts = ", ".join(f"{int(counts.sum()):,} {name}" for name, counts in stacked if counts.any())
    return _bars(
        title,
        (x_label, y_label),
        size,
        _numbers(float(edges[0]), float(edges[-1]), size),
        labels,
        [(name, counts.astype(np.float64)) for name, counts in stacked],
        summary=f"{int(total.sum()):,} {y_label}" + (f": {parts}" if len(stacked) > 1 else ""),
    )


def reliability(bins: Sequence[Mapping[str, Any]], count: int, error: str) -> Chart:
    """Return a reliability diagram: share of correct images by their probability, and the diagonal.

    Bars end on the diagonal where probabilities are right; those above it are too low, below it too high.
    Bins of few images are a series of their own: their shares vary by chance.

    Args:
        bins: index, images, mean probability and correct images of each bin that has images.
        count: of bins of equal width, from 0 to 1.
        error: the calibration error, for display.
    """
    size = SQUARE
    (width, height), bottom = size.inner, float(size.height - _BOTTOM)
    step = width / count
    many: list[Rect] = []
    few: list[Rect] = []
    for each in bins:
        share = each["correct"] / each["images"]
        low = each["index"] / count
        text = (
            f"{low:.3f} to {low + 1 / count:.3f}: {count_text(each['images'], 'image')}, mean probability "
            f"{each['probability']:.1%}, {share:.1%} correct"
        )
        x = _LEFT + each["index"] * step
        length = max(share * height, 1.0)
        bar = Rect(x, bottom - length, step - 0.5, length, text)
        (many if each["images"] >= _FEW_IMAGES else few).append(bar)
    series = (
        Series(f"bins of {_FEW_IMAGES} images or more", tuple(many)),
        Series(f"bins of fewer than {_FEW_IMAGES} images", tuple(few), faint=True),
    )
    images = sum(each["images"] for each in bins)
    y_ticks = tuple(Tick(bottom - value * height, f"{value:.0%}") for value in nice(0.0, 1.0, 5))
    x_ticks = tuple(Tick(_LEFT + value * width, f"{value:.0%}") for value in nice(0.0, 1.0, 5))
    return Chart(
        "Reliability",
        "probability of the predicted class",
        "share of images that are correct",
        x_ticks,
        y_ticks,
        tuple(each for each in series if each.bars),
        f"{count_text(images, 'labelled image')}; {error}. On the line probabilities are right",
        size,
        (Line(_LEFT, bottom, _LEFT + width, bottom - height),),
    )


def front(rows: Sequence[Mapping[str, Any]]) -> Chart:
    """Return the Pareto front ``rows`` of a promise: accuracy at least against QPU time, in powers of ten."""
    seconds = [math.log10(max(row["qpu_us"], 1.0) / 1e6) for row in rows]
    shares = [row["least_accuracy"] for row in rows]
    (width, height), bottom = LARGE.inner, float(LARGE.height - _BOTTOM)
    left, right = math.floor(min(seconds)), math.ceil(max(seconds) + 1e-9)
    low, high = min(shares), max(*shares, min(shares) + 1e-3)
    places = [
        (_LEFT + (x - left) / (right - left) * width, bottom - (y - low) / (high - low) * height * _FILLED)
        for x, y in zip(seconds, shares, strict=True)
    ]
    points = [
        Rect(
            x - _POINT / 2,
            y - _POINT / 2,
            _POINT,
            _POINT,
            f"at least {row['least_accuracy']:.2%}, {row['accuracy']:.2%} expected: "
            f"{number_text(row['qpu_us'] / 1e6)} s",
        )
        for row, (x, y) in zip(rows, places, strict=True)
    ]
    kinds = (("other settings", False), ("chosen", True))
    series = [
        Series(name, tuple(p for row, p in zip(rows, points, strict=True) if row["chosen"] is chosen))
        for name, chosen in kinds
    ]
    x_ticks = tuple(
        Tick(_LEFT + (power - left) / (right - left) * width, number_text(10.0**power))
        for power in range(left, right + 1)
    )
    values = nice(low, high, int(height) // 25)
    y_ticks = tuple(
        Tick(bottom - (value - low) / (high - low) * height * _FILLED, f"{100 * value:.4g}%")
        for value in values
    )
    return Chart(
        "What other accuracies take",
        "seconds of QPU time",
        "accuracy that is reached at least",
        x_ticks,
        y_ticks,
        tuple(each for each in series if each.bars),
        f"{count_text(len(rows), 'setting')}: none is more accurate without being dearer or later",
        LARGE,
    )


def rate(
    title: str, y_label: str, done: Sequence[TimedAmount], start: datetime, end: datetime, unit: float
) -> Chart:
    """Return a chart with ``title`` and ``y_label`` of the work ``done`` from ``start`` to ``end``.

    Rates are amounts per ``unit`` seconds.
    """
    length = max((end - start).total_seconds(), 1e-3)
    seconds = np.array([(work.when - start).total_seconds() for work in done])
    amounts = np.array([work.amount for work in done], dtype=np.float64)
    bins = int(np.clip(len(done), 1, _BINS))
    sums, edges = np.histogram(np.clip(seconds, 0.0, length), bins, (0.0, length), weights=amounts)
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
        summary=(
            f"{number_text(mean)} {y_label} on average over {number_text(length)} s, at most "
            f"{number_text(float(rates.max()))}"
        ),
    )


def signed(
    title: str,
    x_label: str,
    y_label: str,
    parts: Sequence[tuple[str, NDArray[np.float64]]],
    bound: float,
    size: Size = SMALL,
) -> Chart:
    """Return bars of ``size`` up and down from 0, with ``title``, ``x_label`` and ``y_label``.

    Args:
        parts: name and (n,) values of each kind; one kind follows another along the axis.
        bound: the largest size of a value; the axis goes from its negative to it.
    """
    (width, height), top = size.inner, float(_TOP)
    values = np.concatenate([part for _, part in parts])
    step, unit, zero = width / len(values), height / (2.0 * bound), top + height / 2.0
    series, first = [], 0
    for name, part in parts:
        bars = []
        for k, value in enumerate(part.tolist(), first):
            length = max(abs(value) * unit, 0.5)  # one of 0 is seen
            text = f"{x_label} {k}{f' of {name}' if name else ''}: {number_text(value, 4)}"
            x, y = _LEFT + k * step, zero - length if value > 0 else zero
            bars.append(Rect(x, y, max(step - 0.5, 0.5), length, text))
        series.append(Series(name, tuple(bars)))
        first += len(part)
    places = nice(0.0, float(len(values) - 1), width // _TICK)
    x_ticks = tuple(Tick(_LEFT + (k + 0.5) * step, f"{k:.0f}") for k in places if k.is_integer())
    y_ticks = tuple(
        Tick(zero - value * unit, number_text(value)) for value in nice(-bound, bound, int(height) // 25)
    )
    low, high = (number_text(float(end), 4) for end in (values.min(), values.max()))
    summary = f"{count_text(len(values), 'value')} from {low} to {high}"
    return Chart(title, x_label, y_label, x_ticks, y_ticks, tuple(series), summary, size)


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
            text = f"{labels[k]}: {number_text(float(values[k]), 4)} {name or axes[1]}"
            bars.append(Rect(_LEFT + k * step, float(ground[k]), max(step - 0.5, 0.5), height, text))
        series.append(Series(name, tuple(bars)))
    y_ticks = tuple(
        Tick(bottom - value * scale, number_text(value)) for value in nice(0.0, highest, inner_height // 25)
    )
    return Chart(title, axes[0], axes[1], x_ticks, y_ticks, tuple(series), summary, size)


def nice(low: float, high: float, count: int) -> list[float]:
    """Return about ``count`` multiples of 1, 2 or 5 times a power of ten from ``low`` to ``high``."""
    if not high > low:
        return [low]
    raw = (high - low) / count
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1.0, 2.0, 5.0, 10.0) if factor * power >= raw * 0.999)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [k * step for k in range(first, last + 1)]


def distinct(values: Sequence[float]) -> list[str]:
    """Return ``values``, which differ, as short texts that differ.

    >>> distinct([1.0, 2.5]), distinct([-3.3601, -3.36])
    (['1', '2.5'], ['-3.3601', '-3.36'])
    """
    texts: list[str] = []
    for digits in range(3, _MOST_DIGITS + 1):
        texts = [number_text(value, digits) for value in values]
        if len({*texts}) == len(texts):
            break
    return texts


def _numbers(low: float, high: float, size: Size) -> tuple[Tick, ...]:
    span, width = (high - low) or 1.0, size.inner[0]
    values = nice(low, high, width // _TICK)
    places = [_LEFT + (value - low) / span * width for value in values]
    return tuple(map(Tick, places, distinct(values)))


def _clock(start: datetime, length: float, size: Size) -> tuple[Tick, ...]:
    max_ticks = size.inner[0] // (2 * _TICK)
    steps = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400)
    days = math.ceil(length / 86400 / max_ticks)
    step = next((step for step in steps if length / step <= max_ticks), 86400 * days)
    pattern = "%H:%M:%S" if step < 60 else "%H:%M" if step < 86400 else "%m-%d"
    first = step - (start.hour * 3600 + start.minute * 60 + start.second) % step - start.microsecond / 1e6
    ticks = []
    second = first % step
    while second <= length:
        x = _LEFT + second / length * size.inner[0]
        ticks.append(Tick(x, f"{start + timedelta(seconds=second + 1e-3):{pattern}}"))
        second += step
    return tuple(ticks)
