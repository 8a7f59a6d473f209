"""What a worker's process says of its own work while it does it: how often, and how long."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from enum import StrEnum
from typing import Protocol


class Step(StrEnum):
    """What the time of a batch goes to."""

    BUILD = "build"  # problems: linear parts of their images, encoded; some of it within WAIT
    PREPARE = "prepare"  # the embedding, searched or stored, and what all problems share
    WAIT = "wait"  # problems with a solver, from the first that is built and sent to the last answer
    DRAW = "draw"  # an annealer in this process, and what it builds
    DECODE = "decode"  # raw reads become scores


class BatchOutcome(StrEnum):
    """What became of a batch in a worker's hands."""

    SAMPLED = "sampled"
    SCORED = "scored"
    RETRIED = "retried"  # handed back after a failure that counts
    PUT_BACK = "put_back"  # handed back for later: its solver is away, its run is paused, the worker stops
    FAILED = "failed"  # given up
    TAKEN_OVER = "taken_over"  # by another worker: this one was silent for too long


class ProblemOutcome(StrEnum):
    """What became of a problem with a solver."""

    ANSWERED = "answered"
    FAILED = "failed"


class Meter(Protocol):
    """Where figures go."""

    def timed(self, step: Step) -> AbstractContextManager[object]:
        """Measure the body, also when it fails."""

    def batch(self, outcome: BatchOutcome) -> None: ...

    def problem(self, fate: ProblemOutcome, count: int = 1) -> None: ...

    def chain_breaks(self, fraction: float) -> None:
        """The share of broken chains, 0 to 1: the mean over the reads of a batch."""


class NullMeter:
    """Measures nothing."""

    def timed(self, step: Step) -> AbstractContextManager[object]:  # noqa: ARG002 - as in Meter
        return nullcontext()

    def batch(self, outcome: BatchOutcome) -> None:
        pass

    def problem(self, fate: ProblemOutcome, count: int = 1) -> None:
        pass

    def chain_breaks(self, fraction: float) -> None:
        pass
