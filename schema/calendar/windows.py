"""Windows: the hours of the week in which a run may work, as a clock on the wall of some zone shows them.

    22:00-06:00              every night; one that ends before it starts goes over midnight
    mon-fri 22:00-06:00      the nights that begin on these days
    sat,sun 00:00-24:00      whole days

A window is open whenever that clock shows a time from its start up to, and without, its end. So the nights
when clocks are changed need no rule of their own: a window that lies wholly in the hour that a clock leaves
out does not open that night; the hour that a clock shows twice is open twice, and a window within it opens
two times.
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
# A week in which each window opens somewhere; more where a clock's change swallows it, or a whole day.
_HORIZON_DAYS = 23
_SECOND = timedelta(seconds=1)


@dataclass(frozen=True)
class Span:
    """One window. days: 0 (Monday) to 6, on which it starts; start, end: seconds after midnight."""

    text: str
    days: frozenset[int]
    start: int
    end: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises ParameterError that says what is wrong with ``text``, and how a window is written."""
        shaped = _SHAPE.fullmatch(text.strip().lower()) if len(text) <= MAX_TEXT else None
        if shaped is None:
            raise ParameterError(f"window {text[:MAX_TEXT]!r} is not understood; write {EXAMPLES}")
        days = _days(text, shaped["days"])
        start, end = _seconds(text, shaped["start"]), _seconds(text, shaped["end"])
        if start in (end, _DAY_S):
            raise ParameterError(f"window {text!r} has no length; a whole day is 00:00-24:00")
        return cls(" ".join(text.split()).lower(), days, start, end)

    def shows(self, weekday: int, second: int) -> bool:
        """Whether the window is open when a clock shows this weekday and this second of its day."""
        if self.start < self.end:
            return weekday in self.days and self.start <= second < self.end
        evening = weekday in self.days and second >= self.start
        return evening or ((weekday - 1) % 7 in self.days and second < self.end)


@dataclass(frozen=True)
class Windows:
    """The windows of a run: it may work while any of them is open. All times that go in or out are aware."""

    spans: tuple[Span, ...]
    zone: ZoneInfo = field(compare=False)
    zone_name: str

    @classmethod
    def parse(cls, texts: Sequence[str], zone: str) -> Self:
        """Raises ParameterError that names the window or the zone that cannot be used."""
        if not 1 <= len(texts) <= MAX_WINDOWS:
            raise ParameterError(f"{len(texts)} windows; 1 to {MAX_WINDOWS} can be given")
        return cls(tuple(map(Span.parse, texts)), find_zone(zone), zone)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Read back what `to_dict` wrote."""
        return cls.parse(values["spans"], values["zone"])

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        return {"spans": [span.text for span in self.spans], "zone": self.zone_name}

    def __str__(self) -> str:
        return f"{'; '.join(span.text for span in self.spans)} {self.zone_name}"

    def is_open(self, at: datetime) -> bool:
        """Whether a run may work at this time."""
        shown = at.astimezone(self.zone)
        second = shown.hour * 3600 + shown.minute * 60 + shown.second
        return any(span.shows(shown.weekday(), second) for span in self.spans)

    def next_open(self, at: datetime) -> datetime | None:
        """``at``, where a window is open then; else when the next one opens (UTC). None: never."""
        return at.astimezone(UTC) if self.is_open(at) else self._turn(at)

    def closes(self, at: datetime) -> datetime | None:
        """When the windows that are open at ``at`` have closed (UTC); None: never, or none is open then."""
        return self._turn(at) if self.is_open(at) else None

    def opened(self, at: datetime) -> datetime | None:
        """Since when a window has been open at ``at`` (UTC); None: always, or none is open then."""
        return self.last_opened(at) if self.is_open(at) else None

    def last_opened(self, at: datetime) -> datetime | None:
        """When a window opened last, up to ``at`` (UTC); None: none has, as they never close."""
        for days in (2, 8, _HORIZON_DAYS):  # most windows have opened lately
            turns = [turn for turn in self._turns(at - timedelta(days=days), days + 1) if turn <= at]
            for turn in reversed(turns):
                if self.is_open(turn) and not self.is_open(turn - _SECOND):
                    return turn
        return None

    def _turn(self, at: datetime) -> datetime | None:
        """The first time after ``at`` when what `is_open` says is another."""
        before = self.is_open(at)
        turns = self._turns(at, _HORIZON_DAYS)
        return next((turn for turn in turns if turn > at and self.is_open(turn) != before), None)

    def _turns(self, at: datetime, days: int) -> Iterator[datetime]:
        """Every time (UTC), in order, at which a window may open or close; others as well."""
        today = at.astimezone(self.zone).date()
        waiting = self._turns_on(today - timedelta(days=1))
        for offset in range(-1, days + 1):
            following = self._turns_on(today + timedelta(days=offset + 1))
            first = min(following)
            yield from sorted(turn for turn in waiting if turn < first)
            # Where a clock is set back over midnight, a day's last moments come after the next one's first.
            waiting = {turn for turn in waiting if turn >= first} | following

    def _turns_on(self, day: date) -> set[datetime]:
        midnight = datetime.combine(day, datetime.min.time())
        seconds = {0, *(second for span in self.spans for second in (span.start, span.end))}
        local = [midnight + timedelta(seconds=second) for second in seconds]
        # A time that a clock shows twice is two instants; one that it leaves out is none, and does no harm.
        turns = {
            when.replace(tzinfo=self.zone, fold=fold).astimezone(UTC) for when in local for fold in (0, 1)
        }
        return turns | set(_changes(self.zone, midnight.replace(tzinfo=UTC)))


def find_zone(name: str) -> ZoneInfo:
    """A time zone by its name in the IANA data base; raises ParameterError where there is none."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ParameterError(
            f"time zone {name[:MAX_TEXT]!r} is not known; examples: Europe/London, America/New_York, UTC"
        ) from None


def moment(text: str, zone: ZoneInfo, now: datetime) -> datetime:
    """A deadline: `2026-12-01T06:00` in ``zone``, or `06:00`, the next one after ``now``; as UTC.

    Of a time that a clock shows twice the first one counts. One that it leaves out counts as if the clock had
    not been changed: 01:30 of a missing hour is what it shows as 02:30.

    Raises:
        ParameterError: it cannot be understood.
    """
    if is_daily(text):
        hour, minute = map(int, text.split(":"))
        today = now.astimezone(zone).replace(hour=hour, minute=minute, second=0, microsecond=0, fold=0)
        days = (_utc((today + timedelta(days=ahead)).replace(fold=0)) for ahead in range(3))
        return next(day for day in days if day > now)
    try:
        given = datetime.fromisoformat(text.strip())
    except ValueError:
        raise ParameterError(
            f"deadline {text[:MAX_TEXT]!r} is not understood; write 2026-12-01T06:00, or 06:00: the next one"
        ) from None
    return _utc(given if given.tzinfo else given.replace(tzinfo=zone))


def is_daily(text: str) -> bool:
    """Whether a deadline is a time of day, and so another moment every day."""
    found = re.fullmatch(r"(\d\d?):(\d\d)", text.strip())
    return found is not None and int(found[1]) < 24 and int(found[2]) < 60


def _utc(at: datetime) -> datetime:
    try:
        return at.astimezone(UTC)
    except OverflowError:
        raise ParameterError(f"{at:%Y-%m-%d} is out of range") from None


def _changes(zone: ZoneInfo, start: datetime) -> Iterator[datetime]:
    """When a zone's clocks are changed in the 24 hours from ``start`` (UTC)."""
    steps = [start + timedelta(hours=12 * step) for step in range(3)]
    for low, high in pairwise(steps):
        if low.astimezone(zone).utcoffset() != high.astimezone(zone).utcoffset():
            yield _change(zone, low, high)


def _change(zone: ZoneInfo, low: datetime, high: datetime) -> datetime:
    """The first second in (low, high] at which the clock has been changed."""
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
                f"window {text!r}: {part!r} is no day; days are {', '.join(DAYS)}, or mon-fri"
            )
        begin, end = DAYS.index(first), DAYS.index(last)
        days |= {(begin + step) % 7 for step in range((end - begin) % 7 + 1)}
    return frozenset(days)


def _seconds(text: str, time: str) -> int:
    hour, minute, second = (*map(int, time.split(":")), 0)[:3]
    total = hour * 3600 + minute * 60 + second
    if max(minute, second) > 59 or total > _DAY_S:
        raise ParameterError(f"window {text!r}: {time} is no time of day; 00:00 to 24:00")
    return total
