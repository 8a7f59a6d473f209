"""When one run may work: its windows, what a person said about them, and its deadline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from typing import Any, Self

from schema.calendar.windows import Windows, find_zone, moment
from schema.errors import ParameterError


@dataclass(frozen=True)
class Hours:
    """All times are aware.

    windows: None: at all times. opened_until: a person opened them ahead of time, and until then they are
    open. deadline_at: afterwards nothing is sent any more; None: never.
    """

    windows: Windows | None = None
    opened_until: datetime | None = None
    deadline_at: datetime | None = None

    @classmethod
    def of(
        cls, window: Mapping[str, Any] | None, opened_until: datetime | None, deadline_at: datetime | None
    ) -> Self:
        """From what a run's row says."""
        return cls(None if window is None else Windows.from_dict(window), opened_until, deadline_at)

    @classmethod
    def written(
        cls, windows: Sequence[str], zone: str, deadline: str | None, now: datetime, *, again: bool = False
    ) -> Self:
        """From what people write, `schema.calendar.windows` says how; no windows: at all times.

        again: it may be of a run that is there already, whose deadline may be over.

        Raises:
            ParameterError: names the window, zone or deadline that cannot be used, or is over ``now``.
        """
        spans = Windows.parse(windows, zone) if windows else None
        if deadline is None:
            return cls(spans)
        clock = now.astimezone(find_zone(zone))
        at = moment(deadline, find_zone(zone), now)
        if at <= now and not again:
            raise ParameterError(
                f"deadline {deadline} is over: it is {clock:%Y-%m-%d %H:%M %Z} by the database's clock"
            )
        return cls(spans, deadline_at=at)

    def is_over(self, at: datetime) -> bool:
        """Whether the deadline has passed."""
        return self.deadline_at is not None and at >= self.deadline_at

    def is_open(self, at: datetime) -> bool:
        """Whether the run may work, as far as its windows go."""
        return self.windows is None or self._opened(at) or self.windows.is_open(at)

    def next_open(self, at: datetime) -> datetime | None:
        """``at`` where it is open, else when it opens next; None: never."""
        if self.windows is None or self._opened(at):
            return at
        return self.windows.next_open(at)

    def closes(self, at: datetime) -> datetime | None:
        """When it closes, if it is open at ``at``; None: it does not, or is closed. Not by its deadline."""
        if self.windows is None:
            return None
        if self.opened_until is not None and at < self.opened_until:
            return self.windows.closes(self.opened_until) or self.opened_until
        return self.windows.closes(at)

    def opening_after(self, at: datetime) -> datetime | None:
        """When a window opens next, one that is open at ``at`` not counted; None: never again."""
        if self.windows is None:
            return None
        closes = self.windows.closes(at) if self.windows.is_open(at) else at
        return None if closes is None else self.windows.next_open(closes)

    def reopened(self, paused_at: datetime, at: datetime) -> bool:
        """Whether what was paused at ``paused_at`` may go on: it is open, and has been opened since.

        A run that is paused before its window closes, since an answer would come too late, waits for the next
        window. A pause in the future is of a clock that was wrong.
        """
        if self.windows is None:
            return True
        if not self.is_open(at):
            return False
        opened = self.windows.opened(at)
        return opened is None or not opened <= paused_at <= at

    def explain(self, at: datetime) -> str:
        """Why it does not work outside of its windows, for people."""
        if self.windows is None:
            return "it has no window"
        opens = self.windows.next_open(at)
        when = "never opens" if opens is None else f"opens {shown(opens, self.windows.zone)}"
        return f"its window ({self.windows}) is closed, and {when}"

    def _opened(self, at: datetime) -> bool:
        return self.opened_until is not None and at < self.opened_until


ALWAYS = Hours()


def shown(at: datetime, zone: tzinfo = UTC) -> str:
    """A time for people: `Thu 2026-11-26 22:00 GMT`."""
    return f"{at.astimezone(zone):%a %Y-%m-%d %H:%M %Z}"
