"""The same network without an annealer: its own accuracy and the time of a forward pass.

A producer has no torch, so a worker's process is asked, as the embedded stack asks for its workers.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from producer.context import AppContext
from producer.stack import programs
from producer.stack.programs import Program
from schema.errors import AnnealqError

_TIMEOUT_S = 86_400.0  # millions of images on one core


@dataclass(frozen=True)
class Yardstick:
    """What the program `baseline` measured on a run's images; microseconds for one image, one core."""

    images: int
    right: int | None
    forward_us: float
    in_batch_us: float

    @property
    def accuracy(self) -> float | None:
        """The network's own accuracy on the images; None when they have no labels."""
        return None if self.right is None else self.right / self.images


def ask(at: AppContext, run: int) -> Yardstick:
    """Measure the network of a run on its images, in a process of its own.

    Raises:
        AnnealqError: it failed; says how.
    """
    try:
        text = programs.run(Program.BASELINE, [str(run)], at.settings, timeout_s=_TIMEOUT_S)
    except AnnealqError as error:
        raise AnnealqError(f"the baseline of run {run} could not be measured: {error}") from None
    return Yardstick(**json.loads(text))
