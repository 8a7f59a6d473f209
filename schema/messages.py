"""What travels through the broker: a task's name and the id of one row. Nothing else, ever.

A message is a hint that says "look at row N". Losing, repeating or reordering messages
costs latency, never work, because every task reads its row and goes on from there.

Version 1 travels through queues of bare names, `annealq.sample`; from version 2 on the queue's name ends in
the version, `annealq.sample.v2`. So an older worker never takes what only a newer one can read.

Another service may enqueue the same work without HTTP: send a Celery task by name, JSON
serialised, to its queue, with the keyword arguments that :meth:`Message.arguments` shows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from schema.errors import InputError

VERSION = 1


class Task(StrEnum):
    """Names of the tasks, as registered with Celery."""

    DISPATCH = "annealq.dispatch"  # send hints for whatever is due
    SAMPLE_BATCH = "annealq.sample_batch"
    AGGREGATE_BATCH = "annealq.aggregate_batch"
    AGGREGATE_RUN = "annealq.aggregate_run"
    TRAIN_NETWORK = "annealq.train_network"
    CALIBRATE_NETWORK = "annealq.calibrate_network"
    PREPARE = "annealq.prepare"


class Queue(StrEnum):
    """Names of the queues. Workers take all of them unless told otherwise."""

    SAMPLE = "annealq.sample"
    AGGREGATE = "annealq.aggregate"
    TRAIN = "annealq.train"


QUEUE_OF: Mapping[Task, Queue] = {
    Task.DISPATCH: Queue.AGGREGATE,
    Task.SAMPLE_BATCH: Queue.SAMPLE,
    Task.AGGREGATE_BATCH: Queue.AGGREGATE,
    Task.AGGREGATE_RUN: Queue.AGGREGATE,
    Task.TRAIN_NETWORK: Queue.TRAIN,
    Task.CALIBRATE_NETWORK: Queue.AGGREGATE,
    Task.PREPARE: Queue.SAMPLE,
}


@dataclass(frozen=True)
class Message:
    """One hint. ``row`` is the id of what the task works on; 0 for `Task.DISPATCH`."""

    task: Task
    row: int = 0
    version: int = VERSION

    @property
    def queue(self) -> str:
        return queue_name(QUEUE_OF[self.task], self.version)

    def arguments(self) -> dict[str, int]:
        """Keyword arguments of the Celery task."""
        return {"row": self.row, "version": self.version}


def queue_name(queue: Queue, version: int) -> str:
    """The queue that messages of one version travel through."""
    return queue.value if version == 1 else f"{queue.value}.v{version}"


def queue_names() -> list[str]:
    """The queues that a worker of this version takes messages from: its own and those of earlier versions."""
    return [queue_name(queue, version) for version in range(1, VERSION + 1) for queue in Queue]


def is_newer(version: object) -> bool:
    """Whether only a newer worker can read a message of this version."""
    return isinstance(version, int) and version > VERSION


def accept(row: object, version: object) -> int:
    """Validate a message's arguments and return its row id.

    Raises:
        InputError: the version is newer than this worker, or the id is not a whole number >= 0.
    """
    if not isinstance(version, int) or version > VERSION:
        raise InputError(f"message version {version!r} is newer than {VERSION}: upgrade this worker")
    if not isinstance(row, int) or isinstance(row, bool) or row < 0:
        raise InputError(f"message names row {row!r}; a row id is a whole number")
    return row
