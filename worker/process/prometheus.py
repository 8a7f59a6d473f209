"""Metrics of a worker for Prometheus, if `ANNEALQ_WORKER_METRICS_PORT` is set.

A worker is a parent and the processes of its pool. Each process counts in files of a folder that the parent
creates before it forks; the parent adds the files up at each request. Counts of processes that have ended
stay. prometheus_client decides about this when it is imported, so nothing here imports it before `prepare`
has named the folder.
"""

from __future__ import annotations

import os
import platform
import shutil
import tempfile
from collections.abc import Iterable
from contextlib import AbstractContextManager, suppress
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from schema.errors import StackError
from schema.settings.worker import WorkerSettings
from worker.process.meter import BatchOutcome, Meter, ProblemOutcome, Step, Wait

if TYPE_CHECKING:
    from prometheus_client.core import Metric

_FOLDER = "PROMETHEUS_MULTIPROC_DIR"  # prometheus_client's name for it
_PAGE = os.sysconf("SC_PAGE_SIZE")
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_STEP_S = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0)
_WAIT_S = (0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 120.0, 600.0, 3600.0, 14400.0, 43200.0)
_RATIOS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0)


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
    from prometheus_client import CollectorRegistry, Info, start_http_server
    from prometheus_client.multiprocess import MultiProcessCollector

    registry = CollectorRegistry()
    MultiProcessCollector(registry, path=os.environ[_FOLDER])  # type: ignore[no-untyped-call]
    about = Info("annealq_build", "The version of annealq that runs", registry=registry)
    about.info({"version": version("annealq"), "python": platform.python_version(), "part": "worker"})
    registry.register(_Processes())
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
        from prometheus_client import Counter, Histogram

        self._batches = Counter(
            "annealq_worker_batches", "Batches by outcome in this worker", ["outcome"], registry=None
        )
        self._problems = Counter(
            "annealq_worker_problems", "Problems by outcome in this worker", ["outcome"], registry=None
        )
        self._steps = Histogram(
            "annealq_worker_step_seconds", "Time of batches by step", ["step"], buckets=_STEP_S, registry=None
        )
        self._waits = {
            Wait.QUEUE: Histogram(
                "annealq_worker_queue_wait_seconds",
                "Time of batches from when they were due to their claim",
                buckets=_WAIT_S,
                registry=None,
            ),
            Wait.LATENCY: Histogram(
                "annealq_worker_batch_latency_seconds",
                "Time of batches from the creation of their run to their scores",
                buckets=_WAIT_S,
                registry=None,
            ),
        }
        self._chains = Histogram(
            "annealq_worker_chain_break_ratio",
            "Share of broken chains, mean over the reads of each batch",
            buckets=_RATIOS,
            registry=None,
        )
        self._features = Counter(
            "annealq_worker_feature_images",
            "Images whose feature vectors this worker computed",
            registry=None,
        )
        self._feature_s = Counter(
            "annealq_worker_feature_cpu_seconds",
            "Processor time of computing feature vectors",
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

    def waited(self, wait: Wait, seconds: float) -> None:
        self._waits[wait].observe(max(seconds, 0.0))

    def batch(self, outcome: BatchOutcome) -> None:
        self._batches.labels(outcome.value).inc()

    def problem(self, outcome: ProblemOutcome, count: int = 1) -> None:
        self._problems.labels(outcome.value).inc(count)

    def features(self, images: int, seconds: float) -> None:
        self._features.inc(images)
        self._feature_s.inc(seconds)

    def chain_breaks(self, fraction: float) -> None:
        self._chains.observe(fraction)


class _Processes:
    """Memory and processor time of the parent and its pool, on Linux only."""

    def __init__(self) -> None:
        self._cpu_s: dict[int, float] = {}  # of each process, also of those that have ended
        self._earlier_s = 0.0  # of processes whose id was given to another one

    def collect(self) -> Iterable[Metric]:
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        pids = _family()
        resident = [size for size in map(_resident, pids) if size is not None]
        if not resident:
            return
        for pid in pids:
            if (seconds := _cpu_s(pid)) is not None:
                before_s = self._cpu_s.get(pid, 0.0)
                self._earlier_s += before_s if seconds < before_s else 0.0
                self._cpu_s[pid] = seconds
        yield GaugeMetricFamily("annealq_worker_processes", "The parent and its pool", len(resident))
        yield GaugeMetricFamily(
            "annealq_worker_resident_bytes",
            "Resident memory of all; shared memory counts in each",
            sum(resident),
        )
        text = "Processor time of all, also of those that have ended"
        yield CounterMetricFamily(
            "annealq_worker_cpu_seconds", text, self._earlier_s + sum(self._cpu_s.values())
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


def _cpu_s(pid: int) -> float | None:
    """Return the user and system time of a process in seconds; None as for `_resident`."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()  # after its name
        return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S
    except (OSError, IndexError, ValueError):
        return None
