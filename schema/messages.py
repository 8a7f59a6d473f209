"""Messages of the broker: the name of a task and the id of one row, nothing else.

A message is a hint: "look at row N". Losing, repeating or reordering messages costs latency, never work,
because every task resumes from the state of its row.

Messages of version 1 use the queues' plain names, `annealq.sample`; from version 2 on a queue's name ends in
the version, `annealq.sample.v2`, so that an older worker never takes a message it cannot read.

Another service may enqueue the same work without HTTP: send a Celery task by name, JSON serialised, to its
queue, with the keyword arguments of :meth:`Message.arguments`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from schema.errors import InputError

VERSION = 1


class Task(StrEnum):
    """Names of the tasks, as registered with Celery."""

    DISPATCH = "annealq.dispatch"  # sends hints for all rows that are due
    COMPUTE_FEATURES = "annealq.compute_features"  # of a batch or a training set, by a backbone
    SAMPLE_BATCH = "annealq.sample_batch"
    AGGREGATE_BATCH = "annealq.aggregate_batch"
    AGGREGATE_RUN = "annealq.aggregate_run"
    TRAIN_NETWORK = "annealq.train_network"
    PLAN_CALIBRATION = "annealq.plan_calibration"
    CALIBRATE_NETWORK = "annealq.calibrate_network"
    PREPARE = "annealq.prepare"
    FIND_DUPLICATES = "annealq.find_duplicates"
    COMPUTE_HISTOGRAMS = "annealq.compute_histograms"  # of a run's images that somebody looks at
    COMPUTE_SAMPLE_SETS = "annealq.compute_sample_sets"  # of a run's images and problems, for the API


class Queue(StrEnum):
    """Names of the queues. A worker takes all of them by default."""

    FEATURES = "annealq.features"
    SAMPLE = "annealq.sample"
    AGGREGATE = "annealq.aggregate"
    TRAIN = "annealq.train"


QUEUE_OF: Mapping[Task, Queue] = {
    Task.DISPATCH: Queue.AGGREGATE,
    Task.COMPUTE_FEATURES: Queue.FEATURES,
    Task.SAMPLE_BATCH: Queue.SAMPLE,
    Task.AGGREGATE_BATCH: Queue.AGGREGATE,
    Task.AGGREGATE_RUN: Queue.AGGREGATE,
    Task.TRAIN_NETWORK: Queue.TRAIN,
    Task.PLAN_CALIBRATION: Queue.SAMPLE,
    Task.CALIBRATE_NETWORK: Queue.AGGREGATE,
    Task.PREPARE: Queue.SAMPLE,
    Task.FIND_DUPLICATES: Queue.SAMPLE,
    Task.COMPUTE_HISTOGRAMS: Queue.AGGREGATE,
    Task.COMPUTE_SAMPLE_SETS: Queue.AGGREGATE,
}

# What somebody only looks at: workers take it when nothing else waits, and not after that many seconds.
EXPIRES_S: Mapping[Task, float] = {Task.COMPUTE_HISTOGRAMS: 60.0, Task.COMPUTE_SAMPLE_SETS: 60.0}
_LAST = 9  # of the priorities of messages; 0 is the first and the default


@dataclass(frozen=True)
class Message:
    """A hint. ``row`` is the id of the row to work on; 0 for `Task.DISPATCH`."""

    task: Task
    row: int = 0
    version: int = VERSION

    @property
    def queue(self) -> str:
        return queue_name(QUEUE_OF[self.task], self.version)

    @property
    def options(self) -> dict[str, float]:
        """Return how the message is sent: its priority and its expiry, if it has them."""
        expires_s = EXPIRES_S.get(self.task)
        return {} if expires_s is None else {"priority": _LAST, "expires": expires_s}

    def arguments(self) -> dict[str, int]:
        """Return the keyword arguments of the Celery task."""
        return {"row": self.row, "version": self.version}


def queue_name(queue: Queue, version: int) -> str:
    """Return the name of ``queue`` for messages of ``version``."""
    return queue.value if version == 1 else f"{queue.value}.v{version}"


def queue_names() -> list[str]:
    """Return the queues of a worker of this version: its own and those of earlier versions."""
    return [queue_name(queue, version) for version in range(1, VERSION + 1) for queue in Queue]


def is_newer(version: object) -> bool:
    """Return whether only a newer worker can read a message of ``version``."""
    return isinstance(version, int) and version > VERSION


def accept(row: object, version: object) -> int:
    """Validate ``row`` and ``version``, the arguments of a message, and return the row's id.

    Raises:
        InputError: the version is newer than this worker, or the id is not a whole number >= 0.
    """
    if not isinstance(version, int) or version > VERSION:
        raise InputError(f"message version {version!r} is newer than {VERSION}: upgrade this worker")
    if not isinstance(row, int) or isinstance(row, bool) or row < 0:
        raise InputError(f"message names row {row!r}; a row id is a whole number")
    return row
