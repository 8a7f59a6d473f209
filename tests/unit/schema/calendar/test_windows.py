"""Windows on ordinary nights, across midnight, and when clocks change."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from schema.calendar.windows import DAYS, Windows, find_zone, parse_deadline
from schema.errors import ParameterError

LONDON, NEW_YORK, LORD_HOWE = "Europe/London", "America/New_York", "Australia/Lord_Howe"


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def openings(text: str, zone: str, start: str, hours: int) -> list[tuple[str, str]]:
    """Return when the windows are open in the ``hours`` after ``start`` (UTC)."""
    windows, at = Windows.parse([text], zone), utc(start)
    end, found = at + timedelta(hours=hours), []
    while (begin := windows.next_open(at)) is not None and begin < end:
        at = windows.closes(begin) or end
        found.append((f"{begin:%d %H:%M}", f"{at:%d %H:%M}"))
    return found


@pytest.mark.parametrize(
    ("text", "zone", "start", "hours", "expected"),
    [
        ("22:00-06:00", "UTC", "2026-11-25T12:00", 48, [("25 22:00", "26 06:00"), ("26 22:00", "27 06:00")]),
        # A window belongs to the day on which it begins: Friday's extends into Saturday.
        ("fri 22:00-06:00", "UTC", "2026-11-26T00:00", 168, [("27 22:00", "28 06:00")]),
        ("22:00:30-22:00:31", "UTC", "2026-11-25T22:00", 1, [("25 22:00", "25 22:00")]),
        ("sat,sun 00:00-24:00", "UTC", "2026-11-25T00:00", 168, [("28 00:00", "30 00:00")]),
        (
            "sat-mon 23:00-24:00",
            "UTC",
            "2026-11-28T00:00",
            48,
            [("28 23:00", "29 00:00"), ("29 23:00", "30 00:00")],
        ),
        # London, 29 March 2026: 01:00 GMT becomes 02:00 BST. The night is an hour shorter,
        ("22:00-06:00", LONDON, "2026-03-28T12:00", 24, [("28 22:00", "29 05:00")]),
        # a window in the missing hour does not open, and of one that starts in it the rest is open.
        ("01:00-02:00", LONDON, "2026-03-28T12:00", 24, []),
        ("01:30-02:30", LONDON, "2026-03-28T12:00", 24, [("29 01:00", "29 01:30")]),
        # London, 25 October 2026: 02:00 BST becomes 01:00 GMT. The night is an hour longer,
        ("22:00-06:00", LONDON, "2026-10-24T12:00", 24, [("24 21:00", "25 06:00")]),
        # the doubled hour is open twice, and a window within it opens two times.
        ("01:00-02:00", LONDON, "2026-10-24T12:00", 24, [("25 00:00", "25 02:00")]),
        ("01:15-01:45", LONDON, "2026-10-24T12:00", 24, [("25 00:15", "25 00:45"), ("25 01:15", "25 01:45")]),
        # New York, 8 March and 1 November 2026, at 2:00.
        ("22:00-06:00", NEW_YORK, "2026-03-07T12:00", 24, [("08 03:00", "08 10:00")]),
        ("02:00-03:00", NEW_YORK, "2026-03-07T12:00", 24, []),
        ("22:00-06:00", NEW_YORK, "2026-10-31T12:00", 24, [("01 02:00", "01 11:00")]),
        # Lord Howe changes by half an hour: 4 October 2026 at 2:00 to 2:30, 5 April 2026 at 2:00 to 1:30.
        ("02:00-03:00", LORD_HOWE, "2026-10-03T03:00", 24, [("03 15:30", "03 16:00")]),
        ("02:00-02:30", LORD_HOWE, "2026-10-03T03:00", 24, []),
        ("01:30-02:00", LORD_HOWE, "2026-04-04T03:00", 24, [("04 14:30", "04 15:30")]),
        # The Azores set theirs back from 01:00 to 00:00: midnight comes once, the half hour after it twice.
        (
            "23:30-00:30",
            "Atlantic/Azores",
            "2026-10-24T12:00",
            24,
            [("24 23:30", "25 00:30"), ("25 01:00", "25 01:30")],
        ),
    ],
)
def test_openings(text: str, zone: str, start: str, hours: int, expected: list[tuple[str, str]]) -> None:
    assert openings(text, zone, start, hours) == expected


def test_several_windows_that_touch_are_one() -> None:
    windows = Windows.parse(["fri 22:00-24:00", "sat 00:00-06:00"], "UTC")
    assert windows.closes(utc("2026-11-27T23:00")) == utc("2026-11-28T06:00")
    assert windows.opened(utc("2026-11-28T05:00")) == utc("2026-11-27T22:00")


def test_what_is_always_open_never_closes() -> None:
    windows = Windows.parse(["00:00-24:00"], LONDON)
    assert windows.closes(utc("2026-11-27T23:00")) is None
    assert windows.opened(utc("2026-11-27T23:00")) is None


ZONES = st.sampled_from(
    (LONDON, NEW_YORK, LORD_HOWE, "UTC", "America/Havana", "Asia/Kathmandu", "Pacific/Apia")
)
MOMENTS = st.integers(0, 3 * 365 * 24 * 60).map(
    lambda minutes: utc("2025-01-01") + timedelta(minutes=minutes)
)


@st.composite
def windows_of_any_kind(draw: st.DrawFn) -> Windows:
    """Return windows that are closed on Sundays, so that each closes."""
    texts = []
    for _ in range(draw(st.integers(1, 3))):
        start, end = draw(st.lists(st.integers(0, 1439), min_size=2, max_size=2, unique=True))
        days = ",".join(draw(st.lists(st.sampled_from(DAYS[:5]), min_size=1, max_size=5, unique=True)))
        texts.append(f"{days} {start // 60:02}:{start % 60:02}-{end // 60:02}:{end % 60:02}")
    return Windows.parse(texts, draw(ZONES))


@hypothesis_settings(max_examples=40)
@given(windows_of_any_kind(), MOMENTS, st.floats(0, 0.999))
def test_between_two_turns_nothing_changes(windows: Windows, at: datetime, share: float) -> None:
    """Check the times that `next_open` and `closes` skip: those in between, and the second before."""
    is_open = windows.is_open(at)
    turn = windows.closes(at) if is_open else windows.next_open(at)
    assert turn is not None
    assert windows.is_open(turn) != is_open
    assert windows.is_open(at + (turn - at) * share) == is_open
    assert windows.is_open(turn - timedelta(seconds=1)) == is_open or turn - at < timedelta(seconds=1)


@hypothesis_settings(max_examples=40)
@given(windows_of_any_kind(), MOMENTS)
def test_an_opening_is_found_from_both_of_its_ends(windows: Windows, at: datetime) -> None:
    opens = windows.next_open(at)
    assert opens is not None
    opened, closes = windows.opened(opens), windows.closes(opens)
    assert opened is not None
    assert closes is not None
    assert opened <= opens < closes
    assert windows.opened(closes - timedelta(seconds=1)) == opened
    assert Windows.from_dict(windows.to_dict()) == windows


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "22:00-06:00"),
        ("10pm-6am", "not understood"),
        ("22:00", "not understood"),
        ("22:00-25:00", "25:00"),
        ("22:60-23:00", "22:60"),
        ("22:00:60-23:00", "22:00:60"),
        ("22:00-22:00", "no length"),
        ("24:00-06:00", "no length"),
        ("montag 22:00-06:00", "'montag'"),
        ("mon- 22:00-23:00", "'mon-'"),
        ("mon,,tue 22:00-23:00", "''"),
        ("-mon 22:00-23:00", "'-mon'"),
        ("x" * 10_000, "not understood"),
    ],
)
def test_a_malformed_window_is_one_clear_line(text: str, part: str) -> None:
    with pytest.raises(ParameterError) as refused:
        Windows.parse([text], "UTC")
    assert part in str(refused.value)
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 300


@pytest.mark.parametrize("name", ["Mars/Olympus", "", "../../etc/passwd", "\0", "Europe"])
def test_an_unknown_zone_is_one_clear_line(name: str) -> None:
    with pytest.raises(ParameterError, match="Europe/London"):
        find_zone(name)


def test_deadlines() -> None:
    london, now = ZoneInfo(LONDON), utc("2026-10-24T12:00")
    assert parse_deadline("2026-12-01T06:00", london, now) == utc("2026-12-01T06:00")
    assert parse_deadline("2027-07-01T06:00", london, now) == utc("2027-07-01T05:00")
    assert parse_deadline("2026-12-01T06:00+02:00", london, now) == utc("2026-12-01T04:00")
    assert parse_deadline("06:00", london, now) == utc("2026-10-25T06:00")
    assert parse_deadline("13:01", london, now) == utc("2026-10-24T12:01")
    assert parse_deadline("01:30", london, now) == utc("2026-10-25T00:30")  # shown twice: the first one
    assert parse_deadline("2027-03-28T01:30", london, now) == utc("2027-03-28T01:30")  # left out
    for wrong, part in (
        ("tomorrow", "2026-12-01T06:00"),
        ("25:00", "is not"),
    ):
        with pytest.raises(ParameterError, match=part):
            parse_deadline(wrong, london, now)
