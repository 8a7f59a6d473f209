"""Figures of a worker for Prometheus, where `ANNEALQ_WORKER_METRICS_PORT` is set.

A worker is a parent and the processes of its pool. Each of these counts in files of a folder that the parent
made before it forked them; the parent adds the files up whenever it is asked. What a process that is gone has
counted stays. prometheus_client decides on this when it is imported: nothing here imports it before `prepare`
has named the folder.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterable
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from schema.errors import StackError
from worker.process.meter import BatchOutcome, Meter, NullMeter, ProblemOutcome, Step
from worker.process.settings import WorkerSettings

if TYPE_CHECKING:
    from prometheus_client.core import Metric

_FOLDER = "PROMETHEUS_MULTIPROC_DIR"  # prometheus_client's name for it
_PAGE = os.sysconf("SC_PAGE_SIZE")


def prepare() -> None:
    """In the parent, before it forks: make the folder, which only its user can read."""
    os.environ[_FOLDER] = tempfile.mkdtemp(prefix="annealq-metrics-")


def remove() -> None:
    """In the parent, at its end: remove the folder, if there is one."""
    folder = os.environ.pop(_FOLDER, None)
    if folder is not None:
        shutil.rmtree(folder, ignore_errors=True)


def meter(settings: WorkerSettings) -> Meter:
    """What a process of the pool counts with."""
    return Prometheus() if settings.metrics_port is not None and _FOLDER in os.environ else NullMeter()


def serve(host: str, port: int) -> int:
    """In the parent: answer at /metrics from a thread, until the process ends; returns the port.

    Raises:
        StackError: the address cannot be listened on.
    """
    from prometheus_client import CollectorRegistry, start_http_server
    from prometheus_client.multiprocess import MultiProcessCollector

    registry = CollectorRegistry()
    MultiProcessCollector(registry, path=os.environ[_FOLDER])  # type: ignore[no-untyped-call]
    registry.register(_Memory())
    try:
        server, _ = start_http_server(port, addr=host, registry=registry)
    except OSError as error:
        raise StackError(
            f"metrics cannot be served on {host}, port {port} ({error.strerror or error}): give each worker "
            "of this machine its own ANNEALQ_WORKER_METRICS_PORT"
        ) from None
    return server.server_port


class Prometheus:
    """Counts in this process's file of the folder. Make one in each process, after the fork."""

    def __init__(self) -> None:
        from prometheus_client import Counter, Summary

        self._batches = Counter(
            "annealq_worker_batches", "Batches by what became of them here", ["outcome"], registry=None
        )
        self._problems = Counter(
            "annealq_worker_problems", "Problems by what became of them here", ["outcome"], registry=None
        )
        self._steps = Summary(
            "annealq_worker_step_seconds", "Time of batches by what it went to", ["step"], registry=None
        )
        self._chains = Summary(
            "annealq_worker_chain_break_fraction",
            "Share of broken chains, the mean over a batch's reads, by batch",
            registry=None,
        )
        # A figure that is 0 is told from one that is missing.
        for outcome in BatchOutcome:
            self._batches.labels(outcome.value)
        for fate in ProblemOutcome:
            self._problems.labels(fate.value)
        for step in Step:
            self._steps.labels(step.value)

    def timed(self, step: Step) -> AbstractContextManager[object]:
        return self._steps.labels(step.value).time()

    def batch(self, outcome: BatchOutcome) -> None:
        self._batches.labels(outcome.value).inc()

    def problem(self, fate: ProblemOutcome, count: int = 1) -> None:
        self._problems.labels(fate.value).inc(count)

    def chain_breaks(self, fraction: float) -> None:
        self._chains.observe(fraction)


class _Memory:
    """Memory of the parent and its pool, on Linux: elsewhere nothing is said."""

    def collect(self) -> Iterable[Metric]:
        from prometheus_client.core import GaugeMetricFamily

        resident = [size for size in map(_resident, _family()) if size is not None]
        if not resident:
            return
        yield GaugeMetricFamily("annealq_worker_processes", "The parent and its pool", len(resident))
        yield GaugeMetricFamily(
            "annealq_worker_resident_bytes",
            "Resident memory of them all; what they share counts in each",
            sum(resident),
        )


def _family() -> list[int]:
    """This process and its children."""
    found = [os.getpid()]
    for children in Path("/proc/self/task").glob("*/children"):
        with suppress(OSError):
            found += map(int, children.read_text().split())
    return found


def _resident(pid: int) -> int | None:
    """Bytes; None where the process is gone, or the system does not say."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE
    except (OSError, IndexError, ValueError):
        return None
