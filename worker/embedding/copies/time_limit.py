"""A time limit, and progress within it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

_REPORT_EVERY_S = 0.2

Report = Callable[[str, float], None]


@dataclass
class TimeLimit:
    """A limit of wall clock that starts when it is created.

    Attributes:
        limit_s: seconds.
        report: called with the name of a step and the share of the work that is done, 0 to 1; for one step
            not more often than five times a second.
        started: monotonic clock at the start, seconds.
    """

    limit_s: float
    report: Report | None = None
    started: float = field(default_factory=time.monotonic)
    _reported: tuple[str, float] = ("", float("-inf"))  # step and time of the last report

    @property
    def spent_s(self) -> float:
        """Return the seconds since the start."""
        return time.monotonic() - self.started

    @property
    def left_s(self) -> float:
        """Return the seconds until the limit, at least 0."""
        return max(0.0, self.limit_s - self.spent_s)

    @property
    def expired(self) -> bool:
        """Return whether the limit is reached."""
        return self.left_s <= 0.0

    def has_spent(self, share: float) -> bool:
        """Return whether more than ``share`` of the limit is spent, 0 to 1."""
        return self.spent_s > share * self.limit_s

    def report_step(self, step: str, fraction: float | None = None) -> None:
        """Report ``step`` with the ``fraction`` done, by default the share of the limit that is spent."""
        last, at = self._reported
        if self.report is not None and (step != last or time.monotonic() - at >= _REPORT_EVERY_S):
            self._reported = (step, time.monotonic())
            share = self.spent_s / self.limit_s if fraction is None else fraction
            self.report(step, min(1.0, max(0.0, share)))
