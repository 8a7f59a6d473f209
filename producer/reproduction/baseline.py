"""The classical baseline: accuracy of the network without an annealer, and the time of a forward pass.

A producer has no torch, so a program of the worker measures it.
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
class Baseline:
    """The network's own result on a run's images; times in microseconds for one image on one core."""

    images: int
    right: int | None
    forward_us: float
    in_batch_us: float

    @property
    def accuracy(self) -> float | None:
        """Return the network's own accuracy on the images; None when they have no labels."""
        return None if self.right is None else self.right / self.images


def measure(app: AppContext, run: int) -> Baseline:
    """Measure the network of a run on its images, in a process of its own.

    Raises:
        AnnealqError: it failed; says how.
    """
    try:
        text = programs.run(Program.BASELINE, [str(run)], app.settings, timeout_s=_TIMEOUT_S)
    except AnnealqError as error:
        raise AnnealqError(f"the baseline of run {run} could not be measured: {error}") from None
    return Baseline(**json.loads(text))
