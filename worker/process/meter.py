"""Interface of a worker's metrics: counters and timings of its work."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from enum import StrEnum


class Step(StrEnum):
    """A step that takes time of a batch."""

    BUILD = "build"  # linear terms of the images of problems, encoded; some of it within WAIT
    PREPARE = "prepare"  # the embedding, searched or loaded, and what all problems share
    WAIT = "wait"  # from the first problem that is built and sent to the last answer
    DRAW = "draw"  # an annealer in this process, and its preparation
    DECODE = "decode"  # raw reads become scores


class Wait(StrEnum):
    """A time between two moments of a batch, which other batches and solvers lengthen."""

    QUEUE = "queue"  # from when it was due to its claim
    LATENCY = "latency"  # from the creation of its run to its scores


class BatchOutcome(StrEnum):
    """How the work of a process on a batch ended."""

    SAMPLED = "sampled"
    SCORED = "scored"
    RETRIED = "retried"  # requeued after a failure that counts
    PUT_BACK = "put_back"  # requeued: its solver is offline, its run is paused, or the worker stops
    FAILED = "failed"  # no further attempt
    TAKEN_OVER = "taken_over"  # by another worker: the lease of this one expired


class ProblemOutcome(StrEnum):
    """How a problem at a solver ended."""

    ANSWERED = "answered"
    FAILED = "failed"


class Meter:
    """Collects metrics; this one ignores them."""

    def timed(self, step: Step) -> AbstractContextManager[object]:  # noqa: ARG002 - for those that measure
        """Measure the time of the body as ``step``, even if it fails."""
        return nullcontext()

    def waited(self, wait: Wait, seconds: float) -> None:
        """Record ``seconds`` of a batch as ``wait``."""

    def batch(self, outcome: BatchOutcome) -> None:
        """Count a batch by its ``outcome``."""

    def problem(self, outcome: ProblemOutcome, count: int = 1) -> None:
        """Count ``count`` problems by their ``outcome``."""

    def features(self, images: int, seconds: float) -> None:
        """Count ``images`` whose vectors a backbone computed in ``seconds`` of processors."""

    def chain_breaks(self, fraction: float) -> None:
        """Record ``fraction``, the share of broken chains, 0 to 1: the mean over the reads of a batch."""
