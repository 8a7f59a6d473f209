"""Windows: the hours of the week in which a run may work, in local wall-clock time.

    22:00-06:00              every night; a window that ends before it starts crosses midnight
    mon-fri 22:00-06:00      the nights that begin on these days
    sat,sun 00:00-24:00      whole days

A window is open from its start until just before its end, as the clock of its time zone shows them. When
clocks change, a window within the skipped hour does not open that night, and a window within the repeated
hour opens twice.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from typing import Any, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from schema.errors import ParameterError

MAX_WINDOWS = 50
MAX_TEXT = 100
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
EXAMPLES = "22:00-06:00, mon-fri 22:00-06:00 or sat,sun 00:00-24:00"

_TIME = r"\d\d?:\d\d(?::\d\d)?"
_SHAPE = re.compile(rf"(?:(?P<days>[a-z,-]+) +)?(?P<start>{_TIME}) *- *(?P<end>{_TIME})")
_DAY_S = 24 * 3600
# A window opens at least once in this time, also where a clock change skips it, or a whole day.
_HORIZON_DAYS = 23
_SECOND = timedelta(seconds=1)


@dataclass(frozen=True)
class Span:
    """One window.

    Attributes:
        text: as the user wrote it.
        days: on which it starts, 0 (Monday) to 6.
        start: seconds after midnight.
        end: seconds after midnight.
    """

    text: str
    days: frozenset[int]
    start: int
    end: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse ``text``; raise ParameterError that names the problem and shows how to write a window."""
        shaped = _SHAPE.fullmatch(text.strip().lower()) if len(text) <= MAX_TEXT else None
        if shaped is None:
            raise ParameterError(f"window {text[:MAX_TEXT]!r} is not understood: write {EXAMPLES}", "window")
        days = _days(text, shaped["days"])
        start, end = _seconds(text, shaped["start"]), _seconds(text, shaped["end"])
        if start in (end, _DAY_S):
            raise ParameterError(f"window {text!r} has no length: a whole day is 00:00-24:00", "window")
        return cls(" ".join(text.split()).lower(), days, start, end)

    def shows(self, weekday: int, second: int) -> bool:
        """Return whether the window is open at this ``weekday`` and ``second`` after midnight."""
        if self.start < self.end:
            return weekday in self.days and self.start <= second < self.end
        evening = weekday in self.days and second >= self.start
        return evening or ((weekday - 1) % 7 in self.days and second < self.end)


@dataclass(frozen=True)
class Windows:
    """The windows of a run: it may work while any of them is open. All times are aware."""

    spans: tuple[Span, ...]
    zone: ZoneInfo = field(compare=False)
    zone_name: str

    @classmethod
    def parse(cls, texts: Sequence[str], zone: str) -> Self:
        """Parse ``texts`` in ``zone``; raise ParameterError that names what cannot be used."""
        if not 1 <= len(texts) <= MAX_WINDOWS:
            raise ParameterError(f"{len(texts)} windows; 1 to {MAX_WINDOWS} can be given", "window")
        return cls(tuple(map(Span.parse, texts)), find_zone(zone), zone)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Read ``values`` of `to_dict`."""
        return cls.parse(values["spans"], values["zone"])

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {"spans": [span.text for span in self.spans], "zone": self.zone_name}

    def __str__(self) -> str:
        return f"{'; '.join(span.text for span in self.spans)} {self.zone_name}"

    def is_open(self, now: datetime) -> bool:
        """Return whether a window is open at ``now``."""
        shown = now.astimezone(self.zone)
        second = shown.hour * 3600 + shown.minute * 60 + shown.second
        return any(span.shows(shown.weekday(), second) for span in self.spans)

    def next_open(self, now: datetime) -> datetime | None:
        """Return ``now`` if a window is open, else when the next one opens (UTC); None: never."""
        return now.astimezone(UTC) if self.is_open(now) else self._turn(now)

    def closes(self, now: datetime) -> datetime | None:
        """Return when the windows that are open at ``now`` close (UTC); None: never, or none is open."""
        return self._turn(now) if self.is_open(now) else None

    def opened(self, now: datetime) -> datetime | None:
        """Return since when a window has been open at ``now`` (UTC); None: always, or none is open."""
        return self.last_opened(now) if self.is_open(now) else None

    def last_opened(self, now: datetime) -> datetime | None:
        """Return when a window opened last, up to ``now`` (UTC); None: they never close."""
        for days in (2, 8, _HORIZON_DAYS):  # most windows have opened lately
            turns = [turn for turn in self._turns(now - timedelta(days=days), days + 1) if turn <= now]
            for turn in reversed(turns):
                if self.is_open(turn) and not self.is_open(turn - _SECOND):
                    return turn
        return None

    def _turn(self, now: datetime) -> datetime | None:
        """Return the first time after ``now`` at which `is_open` changes."""
        before = self.is_open(now)
        turns = self._turns(now, _HORIZON_DAYS)
        return next((turn for turn in turns if turn > now and self.is_open(turn) != before), None)

    def _turns(self, now: datetime, days: int) -> Iterator[datetime]:
        """Yield, in order, all times (UTC) at which a window may open or close, and some more."""
        today = now.astimezone(self.zone).date()
        waiting = self._turns_on(today - timedelta(days=1))
        for offset in range(-1, days + 1):
            following = self._turns_on(today + timedelta(days=offset + 1))
            first = min(following)
            yield from sorted(turn for turn in waiting if turn < first)
            # Where a clock is set back across midnight, the day's last times come after the next day's first.
            waiting = {turn for turn in waiting if turn >= first} | following

    def _turns_on(self, day: date) -> set[datetime]:
        midnight = datetime.combine(day, datetime.min.time())
        seconds = {0, *(second for span in self.spans for second in (span.start, span.end))}
        local = [midnight + timedelta(seconds=second) for second in seconds]
        # A repeated local time is two instants; a skipped one is none, and does no harm.
        turns = {
            when.replace(tzinfo=self.zone, fold=fold).astimezone(UTC) for when in local for fold in (0, 1)
        }
        return turns | set(_changes(self.zone, midnight.replace(tzinfo=UTC)))


def find_zone(name: str) -> ZoneInfo:
    """Return the time zone ``name`` of the IANA database; raise ParameterError if it has none."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ParameterError(
            f"time zone {name[:MAX_TEXT]!r} is not known; examples: Europe/London, America/New_York, UTC",
            "tz",
        ) from None


def parse_deadline(text: str, zone: ZoneInfo, now: datetime) -> datetime:
    """Parse ``text``, `2026-12-01T06:00` in ``zone``, or `06:00` for the next one after ``now``, as UTC.

    A local time that occurs twice means the first one. A skipped one counts as if the clock had not been
    changed: 01:30 of a skipped hour is what the clock shows as 02:30.

    Raises:
        ParameterError: the text cannot be understood.
    """
    if is_daily(text):
        hour, minute = map(int, text.split(":"))
        today = now.astimezone(zone).replace(hour=hour, minute=minute, second=0, microsecond=0, fold=0)
        days = (_utc((today + timedelta(days=ahead)).replace(fold=0)) for ahead in range(3))
        return next(day for day in days if day > now)
    try:
        deadline = datetime.fromisoformat(text.strip())
    except ValueError:
        raise ParameterError(
            f"deadline {text[:MAX_TEXT]!r} is not understood: write 2026-12-01T06:00, or 06:00, the next one",
            "deadline",
        ) from None
    return _utc(deadline if deadline.tzinfo else deadline.replace(tzinfo=zone))


def is_daily(text: str) -> bool:
    """Return whether the deadline ``text`` is a time of day, and so a different moment every day."""
    time = re.fullmatch(r"(\d\d?):(\d\d)", text.strip())
    return time is not None and int(time[1]) < 24 and int(time[2]) < 60


def _utc(when: datetime) -> datetime:
    try:
        return when.astimezone(UTC)
    except OverflowError:
        raise ParameterError(f"{when:%Y-%m-%d} is out of range", "deadline") from None


def _changes(zone: ZoneInfo, start: datetime) -> Iterator[datetime]:
    """Yield when the clocks of ``zone`` change in the 24 hours from ``start`` (UTC)."""
    steps = [start + timedelta(hours=12 * step) for step in range(3)]
    for low, high in pairwise(steps):
        if low.astimezone(zone).utcoffset() != high.astimezone(zone).utcoffset():
            yield _change(zone, low, high)


def _change(zone: ZoneInfo, low: datetime, high: datetime) -> datetime:
    """Return the first second in (low, high] at which the clock has been changed."""
    before = low.astimezone(zone).utcoffset()
    while high - low > _SECOND:
        middle = low + timedelta(seconds=(high - low) // _SECOND // 2)
        if middle.astimezone(zone).utcoffset() == before:
            low = middle
        else:
            high = middle
    return high


def _days(text: str, names: str | None) -> frozenset[int]:
    if names is None:
        return frozenset(range(7))
    days: set[int] = set()
    for part in names.split(","):
        first, dash, last = part.partition("-")
        last = last if dash else first
        if first not in DAYS or last not in DAYS:
            raise ParameterError(
                f"window {text!r}: {part!r} is not a day: use {', '.join(DAYS)}, or mon-fri", "window"
            )
        begin, end = DAYS.index(first), DAYS.index(last)
        days |= {(begin + step) % 7 for step in range((end - begin) % 7 + 1)}
    return frozenset(days)


def _seconds(text: str, time: str) -> int:
    hour, minute, second = (*map(int, time.split(":")), 0)[:3]
    total = hour * 3600 + minute * 60 + second
    if max(minute, second) > 59 or total > _DAY_S:
        raise ParameterError(f"window {text!r}: {time} is not a time of day: use 00:00 to 24:00", "window")
    return total
