"""Due times of schedules, also when clocks change."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from schema.calendar.cron import Cron
from schema.errors import ParameterError

LONDON = "Europe/London"


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


START = utc("2025-02-01T00:00")
MOMENTS = st.integers(0, 2 * 365 * 24 * 60).map(lambda minutes: START + timedelta(minutes=minutes))


@pytest.mark.parametrize(
    ("text", "zone", "after", "expected"),
    [
        ("0 22 * * mon-fri", LONDON, "2026-11-25T13:00", ["25T22:00", "26T22:00", "27T22:00", "30T22:00"]),
        # London, 29 March 2026: 01:30 is left out; 25 October 2026: it comes twice.
        ("30 1 * * *", LONDON, "2026-03-28T12:00", ["29T01:00", "30T00:30"]),
        ("30 1 * * *", LONDON, "2026-10-24T12:00", ["25T00:30", "26T01:30"]),
        ("0 * * * *", LONDON, "2026-10-24T23:30", ["25T00:00", "25T01:00", "25T02:00"]),
        # New York, 8 March 2026 at 2:00, and 1 November 2026.
        ("30 2 * * *", "America/New_York", "2026-03-08T00:00", ["08T07:00", "09T06:30"]),
        ("30 1 * * *", "America/New_York", "2026-11-01T00:00", ["01T05:30", "02T06:30"]),
        # Lord Howe, 4 October 2026: 2:00 becomes 2:30.
        ("15 2 * * *", "Australia/Lord_Howe", "2026-10-03T03:00", ["03T15:30", "04T15:15"]),
    ],
)
def test_due_times(text: str, zone: str, after: str, expected: list[str]) -> None:
    cron, at, found = Cron.parse(text, zone), utc(after), []
    for _ in expected:
        at = cron.after(at)
        found.append(f"{at:%dT%H:%M}")
    assert found == expected


@hypothesis_settings(max_examples=60)
@given(
    st.sampled_from(("0 22 * * mon-fri", "30 1 * * *", "*/20 * * * *", "15 2 1 * *", "0 */5 * * sun")),
    st.sampled_from((LONDON, "America/New_York", "Australia/Lord_Howe", "UTC")),
    MOMENTS,
)
def test_before_and_after_leave_nothing_out(text: str, zone: str, at: datetime) -> None:
    cron = Cron.parse(text, zone)
    latest, following = cron.latest(at), cron.after(at)
    assert latest <= at < following
    assert cron.after(latest) == following
    assert cron.latest(following) == following
    assert cron.count(latest, following) == 2


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "five fields"),
        ("@daily", "five fields"),
        ("0 0 22 * * *", "five fields"),
        ("60 22 * * *", "minute"),
        ("0 22 * * someday", "day-of-week"),
        ("0 22 31 2 *", "day-of-month"),
        ("0 22 * * mon-fri " * 99, "five fields"),
    ],
)
def test_a_malformed_expression_is_one_clear_line(text: str, part: str) -> None:
    with pytest.raises(ParameterError) as refused:
        Cron.parse(text, "UTC")
    assert part in str(refused.value)
    assert "mon-fri" in str(refused.value)
    assert "\n" not in str(refused.value)
