"""The same network without an annealer: its own accuracy and the time of a forward pass.

A producer has no torch, so a worker's process is asked, as the embedded stack asks for its workers.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass

from producer.context import AppContext
from producer.stack.stack import environment
from schema.errors import AnnealqError


@dataclass(frozen=True)
class Yardstick:
    """What `worker.tools.baseline` measured on a run's images; microseconds for one image, one core."""

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
    command = [sys.executable, "-m", "worker.tools.baseline", str(run)]
    env = {**os.environ, **environment(at.settings, os.environ)}
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise AnnealqError(f"the network of run {run} could not be measured by itself: {last}")
    return Yardstick(**json.loads(done.stdout))
