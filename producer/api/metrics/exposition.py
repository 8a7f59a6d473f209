"""All metrics of the API as text."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from datetime import datetime

from cachetools import TTLCache
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import Metric
from prometheus_client.registry import Collector
from sqlalchemy.orm import Session

from producer.api.metrics import stored, usage
from producer.api.metrics.monotone import Monotone
from producer.api.metrics.process import ProcessMetrics
from schema.database import Database

_FRESH_S = 2.0  # several scrapers cost one query


class Metrics:
    """Metrics of ``process``, and of ``database`` as they were at most two seconds ago.

    Metrics of single runs and owners are separate, for callers that see all runs. Those of runs cover
    unfinished runs only, because Prometheus stores a series for every run that it has ever seen.
    """

    def __init__(self, database: Database, process: ProcessMetrics) -> None:
        self._database, self.process = database, process
        self._lock = threading.Lock()
        self._monotone = Monotone()
        self._texts: TTLCache[bool, bytes] = TTLCache(2, _FRESH_S)

    def text(self, *, with_details: bool) -> bytes:
        """Return the metrics, those of runs and owners only if ``with_details``; raise StorageError."""
        return self.process.text() + self._stored(with_details=with_details)

    def _stored(self, *, with_details: bool) -> bytes:
        with self._lock:
            if (text := self._texts.get(with_details)) is None:
                with self._database.reading() as session:
                    now = self._database.now(session)
                    text = _text(self._monotone.lift(stored.collect(session, now)))
                    if with_details:
                        text += _text(_details(session, now))
                self._texts[with_details] = text
            return text


def _details(session: Session, now: datetime) -> Iterator[Metric]:
    yield from stored.collect_runs(session)
    yield from usage.collect(session, now)


def _text(metrics: Iterable[Metric]) -> bytes:
    registry = CollectorRegistry()
    registry.register(_Collected(list(metrics)))
    return generate_latest(registry)


class _Collected(Collector):
    """Metrics that were read already, as Prometheus' client expects them."""

    def __init__(self, metrics: Iterable[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterable[Metric]:
        return self._metrics
