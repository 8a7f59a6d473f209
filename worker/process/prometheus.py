"""Metrics of a worker for Prometheus, if `ANNEALQ_WORKER_METRICS_PORT` is set.

A worker is a parent and the processes of its pool. Each process counts in files of a folder that the parent
creates before it forks; the parent adds the files up at each request. Counts of processes that have ended
stay. prometheus_client decides about this when it is imported, so nothing here imports it before `prepare`
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
from schema.settings.worker import WorkerSettings
from worker.process.meter import BatchOutcome, Meter, ProblemOutcome, Step

if TYPE_CHECKING:
    from prometheus_client.core import Metric

_FOLDER = "PROMETHEUS_MULTIPROC_DIR"  # prometheus_client's name for it
_PAGE = os.sysconf("SC_PAGE_SIZE")


def prepare() -> None:
    """Create the folder, in the parent, before it forks; only its user can read it."""
    os.environ[_FOLDER] = tempfile.mkdtemp(prefix="annealq-metrics-")


def remove() -> None:
    """Remove the folder, in the parent, before it exits."""
    folder = os.environ.pop(_FOLDER, None)
    if folder is not None:
        shutil.rmtree(folder, ignore_errors=True)


def meter(settings: WorkerSettings) -> Meter:
    """Return the meter of a process of the pool; ``settings`` say if metrics are on."""
    return Prometheus() if settings.metrics_port is not None and _FOLDER in os.environ else Meter()


def serve(host: str, port: int) -> int:
    """Serve /metrics on ``host`` and ``port``, in the parent, from a thread; return the port.

    Raises:
        StackError: the port cannot be opened.
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
            f"metrics cannot be served on {host}, port {port} ({error.strerror or error}): set another "
            "ANNEALQ_WORKER_METRICS_PORT for each worker of this machine"
        ) from None
    return server.server_port


class Prometheus(Meter):
    """Counts in this process's file of the folder. Create one in each process, after the fork."""

    def __init__(self) -> None:
        from prometheus_client import Counter, Summary

        self._batches = Counter(
            "annealq_worker_batches", "Batches by outcome in this worker", ["outcome"], registry=None
        )
        self._problems = Counter(
            "annealq_worker_problems", "Problems by outcome in this worker", ["outcome"], registry=None
        )
        self._steps = Summary(
            "annealq_worker_step_seconds", "Time of batches by step", ["step"], registry=None
        )
        self._chains = Summary(
            "annealq_worker_chain_break_fraction",
            "Share of broken chains, mean over the reads of each batch",
            registry=None,
        )
        # So that a count of 0 differs from a missing one.
        for batch_outcome in BatchOutcome:
            self._batches.labels(batch_outcome.value)
        for problem_outcome in ProblemOutcome:
            self._problems.labels(problem_outcome.value)
        for step in Step:
            self._steps.labels(step.value)

    def timed(self, step: Step) -> AbstractContextManager[object]:
        return self._steps.labels(step.value).time()

    def batch(self, outcome: BatchOutcome) -> None:
        self._batches.labels(outcome.value).inc()

    def problem(self, outcome: ProblemOutcome, count: int = 1) -> None:
        self._problems.labels(outcome.value).inc(count)

    def chain_breaks(self, fraction: float) -> None:
        self._chains.observe(fraction)


class _Memory:
    """Memory of the parent and its pool, on Linux only."""

    def collect(self) -> Iterable[Metric]:
        from prometheus_client.core import GaugeMetricFamily

        resident = [size for size in map(_resident, _family()) if size is not None]
        if not resident:
            return
        yield GaugeMetricFamily("annealq_worker_processes", "The parent and its pool", len(resident))
        yield GaugeMetricFamily(
            "annealq_worker_resident_bytes",
            "Resident memory of all; shared memory counts in each",
            sum(resident),
        )


def _family() -> list[int]:
    """Return the ids of this process and its children."""
    pids = [os.getpid()]
    for children in Path("/proc/self/task").glob("*/children"):
        with suppress(OSError):
            pids += map(int, children.read_text().split())
    return pids


def _resident(pid: int) -> int | None:
    """Return bytes; None if the process has ended, or the system does not tell."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE
    except (OSError, IndexError, ValueError):
        return None
