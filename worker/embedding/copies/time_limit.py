"""A time limit, and progress within it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

Report = Callable[[str, float], None]


@dataclass
class TimeLimit:
    """Counts from its making; monotonic seconds of wall time_limit. report: called with a step and 0..1."""

    limit_s: float
    report: Report | None = None
    started: float = field(default_factory=time.monotonic)

    @property
    def spent_s(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self.started

    @property
    def left_s(self) -> float:
        """Seconds until the limit, at least 0."""
        return max(0.0, self.limit_s - self.spent_s)

    @property
    def expired(self) -> bool:
        """Whether the limit is reached."""
        return self.left_s <= 0.0

    def report_step(self, step: str, fraction: float | None = None) -> None:
        """Report a step; without a fraction, the share of the time limit that is spent."""
        if self.report is not None:
            share = self.spent_s / self.limit_s if fraction is None else fraction
            self.report(step, min(1.0, max(0.0, share)))
