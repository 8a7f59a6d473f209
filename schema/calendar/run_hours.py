"""The times at which a run may work: its windows, a user's opening of them, and its deadline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from typing import Any, Self

from schema.calendar.windows import Windows, find_zone, parse_deadline
from schema.errors import ParameterError


@dataclass(frozen=True)
class RunHours:
    """Windows and deadline of a run; all times are aware.

    Attributes:
        windows: None: always open.
        opened_until: a user opened the run early, and it is open until then.
        deadline_at: nothing is submitted afterwards; None: no deadline.
    """

    windows: Windows | None = None
    opened_until: datetime | None = None
    deadline_at: datetime | None = None

    @classmethod
    def of(
        cls, window: Mapping[str, Any] | None, opened_until: datetime | None, deadline_at: datetime | None
    ) -> Self:
        """Return the hours of a row with these ``window``, ``opened_until`` and ``deadline_at``."""
        return cls(None if window is None else Windows.from_dict(window), opened_until, deadline_at)

    @classmethod
    def parse(
        cls, windows: Sequence[str], zone: str, deadline: str | None, now: datetime, *, again: bool = False
    ) -> Self:
        """Parse the hours of a run as a user writes them.

        Args:
            windows: as `schema.calendar.windows` describes; empty: always open.
            zone: time zone of ``windows`` and ``deadline``.
            deadline: as for `parse_deadline`.
            now: the deadline must be later.
            again: the run may exist already, and its deadline may have passed.

        Raises:
            ParameterError: names the window, zone or deadline that cannot be used.
        """
        spans = Windows.parse(windows, zone) if windows else None
        if deadline is None:
            return cls(spans)
        clock = now.astimezone(find_zone(zone))
        deadline_at = parse_deadline(deadline, find_zone(zone), now)
        if deadline_at <= now and not again:
            raise ParameterError(
                f"deadline {deadline} has passed: the database's clock says {clock:%Y-%m-%d %H:%M %Z}",
                "deadline",
            )
        return cls(spans, deadline_at=deadline_at)

    def has_expired(self, now: datetime) -> bool:
        """Return whether the deadline has passed at ``now``."""
        return self.deadline_at is not None and now >= self.deadline_at

    def is_open(self, now: datetime) -> bool:
        """Return whether the windows let the run work at ``now``."""
        return self.windows is None or self._opened(now) or self.windows.is_open(now)

    def next_open(self, now: datetime) -> datetime | None:
        """Return ``now`` if the run is open, else the time when it opens next; None: never."""
        if self.windows is None or self._opened(now):
            return now
        return self.windows.next_open(now)

    def closes(self, now: datetime) -> datetime | None:
        """Return when the windows that are open at ``now`` close; None: never, or they are closed."""
        if self.windows is None:
            return None
        if self.opened_until is not None and now < self.opened_until:
            return self.windows.closes(self.opened_until) or self.opened_until
        return self.windows.closes(now)

    def opening_after(self, now: datetime) -> datetime | None:
        """Return when a window opens next, not counting one that is open at ``now``; None: never again."""
        if self.windows is None:
            return None
        closes = self.windows.closes(now) if self.windows.is_open(now) else now
        return None if closes is None else self.windows.next_open(closes)

    def may_resume(self, paused_at: datetime, now: datetime) -> bool:
        """Return whether a run paused at ``paused_at`` may resume at ``now``: a window opened in between.

        A run that is paused shortly before its window closes, because an answer would be too late, waits for
        the next window. A pause in the future comes from a clock that was wrong.
        """
        if self.windows is None:
            return True
        if not self.is_open(now):
            return False
        opened = self.windows.opened(now)
        return opened is None or not opened <= paused_at <= now

    def explain(self, now: datetime) -> str:
        """Return the reason, for display, why the run does not work at ``now``, outside of its windows."""
        if self.windows is None:
            return "it has no window"
        opens = self.windows.next_open(now)
        when = "never opens" if opens is None else f"opens {format_time(opens, self.windows.zone)}"
        return f"its window ({self.windows}) is closed, and {when}"

    def _opened(self, now: datetime) -> bool:
        return self.opened_until is not None and now < self.opened_until


ALWAYS_OPEN = RunHours()


def format_time(when: datetime, zone: tzinfo = UTC) -> str:
    """Return ``when`` in ``zone`` for display: `Thu 2026-11-26 22:00 GMT`."""
    return f"{when.astimezone(zone):%a %Y-%m-%d %H:%M %Z}"
