"""Metrics of this process: requests, pools of threads, listeners, webhooks, memory and file descriptors."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable
from importlib.metadata import version

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from producer.api.load.memory import MemoryBudget
from producer.api.load.pools import Pools

_REQUEST_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_WEBHOOK_S = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0)


class ProcessMetrics:
    """Counts since the process started. Use it in one event loop."""

    def __init__(self, pools: Pools, budgets: Iterable[MemoryBudget], listeners: Callable[[], int]) -> None:
        """Prepare metrics of these pools and budgets; ``listeners`` returns the open streams of events."""
        self._registry = CollectorRegistry()
        about = Info("annealq_build", "The version of annealq that runs", registry=self._registry)
        about.info({"version": version("annealq"), "python": platform.python_version(), "part": "api"})
        ProcessCollector(registry=self._registry)
        self._registry.register(_Load(pools, list(budgets), listeners))
        self._requests = Counter(
            "annealq_http_requests",
            "Requests that were answered",
            ["route", "method", "status"],
            registry=self._registry,
        )
        self._durations = Histogram(
            "annealq_http_request_duration_seconds",
            "Time until an answer was complete; of streams of events, until it began",
            ["route", "method"],
            buckets=_REQUEST_S,
            registry=self._registry,
        )
        self.in_flight = Gauge(
            "annealq_http_requests_in_flight", "Requests that are not answered yet", registry=self._registry
        )
        self._attempts = Histogram(
            "annealq_webhook_attempt_duration_seconds",
            "Time of attempts to deliver messages to webhooks, by outcome",
            ["outcome"],
            buckets=_WEBHOOK_S,
            registry=self._registry,
        )
        for outcome in ("delivered", "failed"):  # so that a count of 0 differs from a missing one
            self._attempts.labels(outcome)

    def request(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count a request that took ``seconds``.

        Args:
            route: template of its path, as /v1/runs/{run}: one of a limited number.
            method: the same.
        """
        self._requests.labels(route, method, str(status)).inc()
        self._durations.labels(route, method).observe(seconds)

    def webhook(self, *, is_delivered: bool, latency_ms: int | None) -> None:
        """Count an attempt to deliver a message, and the time until it ended."""
        self._attempts.labels("delivered" if is_delivered else "failed").observe((latency_ms or 0) / 1e3)

    def text(self) -> bytes:
        """Return the metrics in Prometheus' text format."""
        return generate_latest(self._registry)


class _Load(Collector):
    """What pools, budgets and listeners hold at the moment."""

    def __init__(self, pools: Pools, budgets: list[MemoryBudget], listeners: Callable[[], int]) -> None:
        self._pools, self._budgets, self._listeners = pools, budgets, listeners

    def collect(self) -> Iterable[Metric]:
        threads = GaugeMetricFamily("annealq_pool_threads", "Threads of a pool", labels=["pool"])
        calls = GaugeMetricFamily(
            "annealq_pool_calls", "Calls that run in a pool, and that wait for it", labels=["pool", "state"]
        )
        refusals = CounterMetricFamily(
            "annealq_pool_refusals", "Calls that were refused because too many waited", labels=["pool"]
        )
        for name, pool in vars(self._pools).items():
            threads.add_metric([name], pool.threads)
            calls.add_metric([name, "running"], min(pool.calls, pool.threads))
            calls.add_metric([name, "waiting"], max(pool.calls - pool.threads, 0))
            refusals.add_metric([name], pool.refusals)
        reserved = GaugeMetricFamily(
            "annealq_memory_reserved_bytes", "Memory that requests have reserved", labels=["budget"]
        )
        for budget in self._budgets:
            reserved.add_metric([budget.what], budget.used)
        yield from (threads, calls, refusals, reserved)
        text = "Open streams of events"
        yield GaugeMetricFamily("annealq_event_listeners", text, self._listeners())
