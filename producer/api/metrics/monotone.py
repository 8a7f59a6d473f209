"""Counters that are sums over rows, and must not fall when rows are deleted."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client.core import CounterMetricFamily, Metric

_Series = tuple[str, tuple[tuple[str, str], ...]]  # name and labels of a sample


class Monotone:
    """Remembers the sums of this process. Use it in one thread at a time.

    A fall is added from then on, so that the counter continues to rise with what comes new.
    """

    def __init__(self) -> None:
        self._last: dict[_Series, float] = {}
        self._lost: dict[_Series, float] = {}

    def lift(self, metrics: Iterable[Metric]) -> Iterable[Metric]:
        """Yield ``metrics``, with each counter at least as high as it was the last time."""
        for metric in metrics:
            if isinstance(metric, CounterMetricFamily):
                metric.samples = [
                    sample._replace(
                        value=self._risen((sample.name, tuple(sample.labels.items())), sample.value)
                    )
                    for sample in metric.samples
                ]
            yield metric

    def _risen(self, series: _Series, value: float) -> float:
        fall = self._last.get(series, value) - value
        self._last[series] = value
        self._lost[series] = self._lost.get(series, 0.0) + max(fall, 0.0)
        return value + self._lost[series]
