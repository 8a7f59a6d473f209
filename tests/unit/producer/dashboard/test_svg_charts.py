"""Charts: what bars sum to, where ticks stand, and what they say in words."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from producer.dashboard.charts import svg_charts
from producer.dashboard.charts.svg_charts import TimedAmount

START = datetime(2026, 1, 1, 22, 59, 50, tzinfo=UTC)


def test_bars_of_a_histogram_are_stacked_and_as_high_as_their_counts() -> None:
    edges = np.array([0.0, 1.0, 2.0, 3.0])
    chart = svg_charts.histogram(
        "t", "x", "reads", edges, [("mine", np.array([3, 0, 1])), ("others", np.array([1, 2, 0]))]
    )
    mine, others = chart.series
    unit = chart.size.inner[1] / 4  # the highest pile is 4
    assert [bar.height for bar in mine.bars] == pytest.approx([3 * unit, unit])
    assert [bar.height for bar in others.bars] == pytest.approx([unit, 2 * unit])
    assert others.bars[0].y + others.bars[0].height == pytest.approx(mine.bars[0].y)
    assert others.bars[1].y + others.bars[1].height == pytest.approx(chart.bottom)
    assert "3 reads" not in chart.summary
    assert "4 mine" in chart.summary
    assert "3 others" in chart.summary


@given(st.lists(st.tuples(st.floats(0, 1), st.integers(1, 1000)), min_size=1, max_size=80), st.floats(1, 1e5))
def test_what_was_done_is_the_area_under_the_rate(done: list[tuple[float, int]], length: float) -> None:
    end = START + timedelta(seconds=length)
    events = [TimedAmount(START + share * (end - START), amount) for share, amount in done]
    chart = svg_charts.rate("t", "images/s", events, START, end, 1.0)
    (series,) = chart.series
    total = sum(amount for _, amount in done)
    mean = float(chart.summary.split()[0].replace(",", ""))
    assert mean == pytest.approx(total / (end - START).total_seconds(), rel=0.01)
    highest = max(bar.height for bar in series.bars)
    assert highest == pytest.approx(chart.size.inner[1])
    shares = sum(bar.height for bar in series.bars) / highest
    peak = float(chart.summary.rsplit(maxsplit=1)[-1].replace(",", ""))
    bins = min(max(len(done), 1), 60)
    assert shares * peak / bins * (end - START).total_seconds() == pytest.approx(total, rel=0.02)


def test_a_clock_ticks_at_round_times() -> None:
    end = START + timedelta(minutes=4)
    chart = svg_charts.rate("t", "images/s", [TimedAmount(end, 5)], START, end, 1.0)
    assert [tick.text for tick in chart.x_ticks] == ["23:00", "23:01", "23:02", "23:03"]
    first, second = chart.x_ticks[:2]
    width = chart.size.inner[0]
    assert first.position - chart.left == pytest.approx(10 / 240 * width)
    assert second.position - first.position == pytest.approx(60 / 240 * width)


def test_a_run_of_days_has_dates() -> None:
    end = START + timedelta(days=4)
    chart = svg_charts.rate("t", "images/s", [TimedAmount(end, 5)], START, end, 1.0)
    assert [tick.text for tick in chart.x_ticks] == ["01-02", "01-03", "01-04", "01-05"]


@given(st.floats(-1e6, 1e6), st.floats(1e-6, 1e6), st.integers(2, 12))
def test_round_numbers_lie_inside_and_are_not_many(low: float, span: float, count: int) -> None:
    high = low + span
    values = svg_charts.nice(low, high, count)
    assert all(low - 1e-6 * span <= value <= high + 1e-6 * span for value in values)
    assert len(values) <= count + 1


def test_an_axis_of_one_value_has_one_tick() -> None:
    assert svg_charts.nice(3.0, 3.0, 5) == [3.0]


def test_signed_bars_stand_on_zero_and_are_as_long_as_their_values() -> None:
    first, second = np.array([0.5, -1.0]), np.array([0.0, 2.0, -0.25])
    chart = svg_charts.signed("t", "unit", "value", [("photo", first), ("tone", second)], 2.0)
    unit = chart.size.inner[1] / 4  # from -2 to 2
    bars = [bar for series in chart.series for bar in series.bars]
    assert [bar.x for bar in bars] == sorted(bar.x for bar in bars)
    zero = next(tick.position for tick in chart.y_ticks if tick.text == "0")
    ends = [
        bar.y if value > 0 else bar.y + bar.height for bar, value in zip(bars, (*first, *second), strict=True)
    ]
    assert [(zero - end) / unit for end in ends] == pytest.approx([0.5, -1.0, 0.0, 2.0, -0.25], abs=0.02)
    assert all(min(abs(bar.y - zero), abs(bar.y + bar.height - zero)) < 1e-9 for bar in bars)
    assert bars[3].text == "unit 3 of tone: 2"
    assert chart.summary == "5 values from -1 to 2"
