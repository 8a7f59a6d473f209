"""What fits into a night."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from producer.commands.plan import past
from producer.planning.forecast import Forecast, WaitingRun, WindowPlan, forecast
from producer.reports.forecast import Price, plan_object
from schema.calendar.run_hours import RunHours
from schema.calendar.windows import Windows
from schema.errors import ParameterError
from schema.states import PausedBy

NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)
NIGHT = RunHours(Windows.parse(["22:00-06:00"], "UTC"))
HOUR_S = 3600.0


def waiting(number: int = 1, hours_long: float | None = 1.0, **changes: object) -> WaitingRun:
    """Return a run that takes that many hours of a QPU: for each, 1,000 images in 100 problems."""
    seconds = None if hours_long is None else hours_long * HOUR_S
    known = hours_long or 0.0
    run = WaitingRun(
        run_id=number,
        name="data",
        solver="dwave",
        priority=0,
        paused_by=None,
        hours=NIGHT,
        images=round(1000 * (hours_long or 1)),
        problems=round(100 * known),
        qpu_us=round(known * HOUR_S * 1e6),
        seconds=seconds,
        budget_us=None,
        basis="a test",
    )
    return replace(run, **changes)  # type: ignore[arg-type]


def planned(*runs: WaitingRun, now: datetime = NOON) -> tuple[WindowPlan, list[Forecast]]:
    plan = forecast(runs, now)
    return plan, list(plan.runs)


def at(hour: float) -> datetime:
    """Return the time that many hours after the midnight before noon."""
    return NOON + timedelta(hours=hour - 12)


def test_a_night_holds_eight_hours() -> None:
    plan, (one,) = planned(waiting(hours_long=10))
    assert (plan.until, one.begins_at) == (at(30), at(22))
    assert (one.images, one.problems, one.qpu_us) == (8000, 800, 8 * 3600 * 10**6)
    assert (one.left_images, one.left) == (2000, "its window ends")
    assert plan.qpu_us == one.qpu_us


def test_the_urgent_goes_first_and_equals_share() -> None:
    _, (first, second, urgent) = planned(waiting(1, 6), waiting(2, 1), waiting(3, 4, priority=5))
    assert urgent.begins_at == at(22)
    assert first.begins_at == second.begins_at == at(26)
    assert (urgent.images, second.images, first.images) == (4000, 1000, 3000)


def test_solvers_do_not_wait_for_each_other() -> None:
    _, runs = planned(waiting(1, 8), waiting(2, 8, solver="emulator"))
    assert [one.left for one in runs] == [None, None]


def test_a_run_without_a_window_works_at_once_for_a_day() -> None:
    plan, (one,) = planned(waiting(hours_long=30, hours=RunHours()))
    assert (plan.until, one.begins_at, one.images) == (at(36), NOON, 24_000)
    assert one.left == "the 24 hours end"


@pytest.mark.parametrize(
    ("changes", "images", "left"),
    [
        ({"budget_us": 1_800_000_000}, 500, "its budget is spent"),
        ({"budget_us": 0}, 0, "its budget is spent"),
        ({"budget_us": 3_600_000_000}, 1000, None),
        ({"paused_by": PausedBy.HAND}, 0, "paused by hand"),
        ({"paused_by": PausedBy.BUDGET}, 0, "paused by budget"),
        ({"paused_by": PausedBy.WINDOW}, 1000, None),
        ({"paused_by": PausedBy.DAY}, 1000, None),
        ({"hours": replace(NIGHT, deadline_at=at(22.5))}, 500, "its window or its deadline ends"),
        ({"hours": replace(NIGHT, opened_until=at(22))}, 1000, None),
        ({"seconds": None, "problems": None, "qpu_us": None}, 0, "its duration is unknown"),
        ({"images": 0, "problems": 0, "qpu_us": 0, "seconds": 0.0}, 0, None),
    ],
)
def test_what_holds_a_run_back(changes: dict[str, object], images: int, left: str | None) -> None:
    _, (one,) = planned(waiting(**changes))  # type: ignore[arg-type]
    assert (one.images, one.left) == (images, left)


def test_a_spent_day_ends_at_midnight() -> None:
    _, (one,) = planned(waiting(paused_by=PausedBy.DAY))
    assert one.begins_at == at(24)


@hypothesis_settings(max_examples=60)
@given(
    st.lists(st.tuples(st.floats(0.01, 20), st.integers(0, 2), st.booleans()), min_size=1, max_size=6),
    st.integers(0, 2000),
)
def test_a_night_never_holds_more_than_its_time(runs: list[tuple[float, int, bool]], minutes: int) -> None:
    works = [
        waiting(number, length, priority=priority, hours=NIGHT if nightly else RunHours())
        for number, (length, priority, nightly) in enumerate(runs)
    ]
    now = NOON + timedelta(minutes=minutes)
    plan, found = planned(*works, now=now)
    assert plan.qpu_us / 1e6 <= (plan.until - now).total_seconds() + 1e-3
    for one in found:
        assert 0 <= one.images <= one.run.images
        assert (one.left is None) == (one.left_images == 0)
        assert one.begins_at is None or one.run.hours.is_open(one.begins_at)


def test_costs() -> None:
    plan, _ = planned(waiting(hours_long=0.5))
    shown = plan_object(plan, Price(120.0, "EUR"), {})
    assert (shown["cost"], shown["currency"], shown["runs"][0]["cost"]) == (3600.0, "EUR", 3600.0)
    assert plan_object(plan, None, {})["cost"] is None


def test_since() -> None:
    london = ZoneInfo("Europe/London")
    assert past("22:00", london, NOON) == at(-2)
    assert past("12:00", london, NOON) == NOON
    assert past("2026-11-24T22:00", london, NOON) == at(-2)
    with pytest.raises(ParameterError, match="write 22:00"):
        past("yesterday", london, NOON)
